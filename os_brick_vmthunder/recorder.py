#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Records what a guest reads of its origin, and in which order.

The kernel counts it, for each area of a device. How often it is looked at is
how well the order is known; what is read between two looks is taken in the
order in which it lies on the disk.
"""

import time
from typing import Callable, Iterator, Sequence

from os_brick_vmthunder import closeup
from os_brick_vmthunder import dmstats
from os_brick_vmthunder import profile
from os_brick_vmthunder import sysfs

#: A boot is over when nothing new was read for this long, in seconds.
QUIET_SECONDS = 20.0
#: What is read after so many seconds is no longer a part of the boot.
LONGEST_SECONDS = 300.0
#: Who has read nothing for so many seconds doesn't boot.
PATIENCE_SECONDS = 600.0
# So many areas are looked at only if any of them was read, and so many places
# one by one.
_GROUP, _MOST_PLACES = 64, 16


class Recording:
    """What is read of a device from now on.

    :param kernel: the kernel's name of an origin.
    :param name: device-mapper's.
    :param size: bytes of the template, with which it begins.
    :param known: the template's profile, to be looked at closely, if it has
        one.
    :raises DeviceMapperError: the kernel refuses.
    """

    def __init__(self, kernel: str, name: str, size: int,
                 known: profile.Profile | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._kernel = kernel
        self._size = size
        self._clock = clock
        self._area = profile.area_size(size, dmstats.most_areas())
        self._numbers: dict[int, None] = {}
        self._stat: str | None = None
        self._attached = self._began = self._changed = clock()
        # first of all, so that it misses nothing that the others count
        self._closeup = known and closeup.begin(name, known, self._area)
        # the larger one last: that is the one that there may be no memory for
        self._groups, self._areas = (
            dmstats.Region(name, 0, size, area)
            for area in (self._area * _GROUP, self._area))
        self._groups_read = [0] * -(-size // (self._area * _GROUP))

    @property
    def is_over(self) -> bool:
        """Whether the boot seems to be over."""
        now = self._clock()
        return bool(self._numbers) and (
            now - self._changed >= QUIET_SECONDS or
            now - self._began >= LONGEST_SECONDS)

    @property
    def is_vain(self) -> bool:
        """Whether there seems to be no boot."""
        return not self._numbers and (
            self._clock() - self._attached >= PATIENCE_SECONDS)

    def look(self) -> None:
        """See what was read since the last look.

        :raises DeviceMapperError: the device is gone.
        """
        # the whole device's counters are cheaper to look at
        stat = sysfs.attribute(self._kernel, 'stat')
        if stat is not None and stat == self._stat:
            return
        self._stat = stat
        new = [number for groups in _places(
                   self._size, self._area * _GROUP, self._changed_groups())
               for number in self._numbers_read(range(
                   groups.first * _GROUP, groups.end * _GROUP))
               if number not in self._numbers]
        if new:
            self._changed = self._clock()
            if not self._numbers:
                self._began = self._changed
            self._numbers.update(dict.fromkeys(new))

    def read(self) -> profile.Profile:
        """Return what was read so far.

        :raises DeviceMapperError: the device is gone.
        """
        if self._closeup:
            return self._closeup.read(self._numbers)
        return profile.Profile.of(self._size, self._area, self._numbers)

    def end(self) -> None:
        """Have the kernel count no more."""
        for each in self._areas, self._groups, self._closeup:
            if each:
                each.end()

    def _changed_groups(self) -> list[int]:
        """Return the numbers of groups that were read since the last look."""
        before = self._groups_read
        self._groups_read = self._groups.sectors_read()
        return [number for number, (old, new) in enumerate(
            zip(before, self._groups_read)) if old != new]

    def _numbers_read(self, numbers: range) -> Iterator[int]:
        """Yield the numbers of those areas that were read."""
        for number, sectors in zip(numbers,
                                   self._areas.sectors_read_of(numbers)):
            if sectors:
                yield number


def _places(size: int, area: int, groups: list[int]
            ) -> Sequence[profile.Extent]:
    """Return where to look for what was read of some groups.

    :param size: bytes of the template.
    :param area: bytes of a group.
    :param groups: their numbers, in the order in which they lie on the disk.
    """
    places = profile.Profile.of(size, area, groups).extents
    if len(places) > _MOST_PLACES:
        return [profile.Extent(groups[0], groups[-1] + 1 - groups[0])]
    return places
