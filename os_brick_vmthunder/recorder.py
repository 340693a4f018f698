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

The kernel counts it: device-mapper's statistics, one counter for each area of
a device. It is in every kernel that has device-mapper, needs nothing to be
mounted or traced and costs memory for each area alone, while it lasts. How
often it is looked at is how well the order is known; what is read between two
looks is taken in the order in which it lies on the disk.
"""

import os
import time
from typing import Callable, Iterator, Sequence

from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder import exception
from os_brick_vmthunder.privileged import dmsetup
from os_brick_vmthunder import profile
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

#: A boot is over when nothing new was read for this long, in seconds.
QUIET_SECONDS = 20.0
#: What is read after so many seconds is no longer a part of the boot.
LONGEST_SECONDS = 300.0
#: Who has read nothing for so many seconds doesn't boot.
PATIENCE_SECONDS = 600.0
# Bytes of kernel memory that areas may take, and which part of the host's.
_MOST_MEMORY, _MEMORY_SHARE = 256 << 20, 16
# Bytes that one takes: in any case, and for each processor (struct dm_stat in
# the kernel's drivers/md/dm-stats.c).
_AREA_MEMORY, _PROCESSOR_MEMORY = 136, 104
# So many areas are looked at only if any of them was read, and so many places
# one by one.
_GROUP, _MOST_PLACES = 64, 16

# By which a recording is known to be ours.
_PROGRAM = 'vmthunder'
# Of the counters behind an area's place: sectors read.
_SECTORS_READ = 2


class Recording:
    """What is read of a device from now on.

    :param kernel: the kernel's name of an origin.
    :param name: device-mapper's.
    :param size: bytes of the template, with which it begins.
    :raises DeviceMapperError: the kernel refuses.
    """

    def __init__(self, kernel: str, name: str, size: int,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._kernel = kernel
        self._name = name
        self._size = size
        self._clock = clock
        self._area = profile.area_size(size, _most_areas())
        self._numbers: dict[int, None] = {}
        self._stat: str | None = None
        self._attached = self._began = self._changed = clock()
        # the larger one last: that is the one that there may be no memory for
        self._groups = self._watch(self._area * _GROUP)
        self._areas = self._watch(self._area)
        self._read = [0] * -(-size // (self._area * _GROUP))

    @property
    def profile(self) -> profile.Profile:
        """What was read so far."""
        return profile.Profile.of(self._size, self._area, self._numbers)

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
               for number in self._numbers_read(groups.first * _GROUP,
                                                groups.count * _GROUP)
               if number not in self._numbers]
        if new:
            self._changed = self._clock()
            if not self._numbers:
                self._began = self._changed
            self._numbers.update(dict.fromkeys(new))

    def end(self) -> None:
        """Have the kernel count no more."""
        for region in self._areas, self._groups:
            _delete(self._name, region)

    def _watch(self, area: int) -> str:
        """Have the kernel count by areas of so many bytes."""
        return _tell(self._name, 'watch', (
            f'@stats_create 0+{self._size // sysfs.SECTOR} '
            f'{area // sysfs.SECTOR} {_PROGRAM}')).strip()

    def _changed_groups(self) -> list[int]:
        """Return the numbers of groups that were read since the last look."""
        before, self._read = self._read, [
            _sectors_read(line) for line in self._print(self._groups)]
        return [number for number, (old, new)
                in enumerate(zip(before, self._read)) if old != new]

    def _numbers_read(self, first: int, count: int) -> Iterator[int]:
        """Yield the numbers of those areas that were read."""
        for number, line in enumerate(
                self._print(self._areas, f' {first} {count}'), first):
            if _sectors_read(line):
                yield number

    def _print(self, region: str, lines: str = '') -> list[str]:
        return _tell(self._name, 'watch',
                     f'@stats_print {region}{lines}').splitlines()


def end_all(name: str) -> None:
    """End the recordings of a device that an agent which died began."""
    try:
        for line in _tell(name, 'watch',
                          f'@stats_list {_PROGRAM}').splitlines():
            _delete(name, line.partition(':')[0])
    except exception.DeviceMapperError as error:
        LOG.debug('%s', error)


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


def _sectors_read(line: str) -> int:
    """Return a counter of a line of statistics."""
    _place, *counters = line.split()
    return int(counters[_SECTORS_READ])


def _most_areas() -> int:
    """Return how many areas this host has the memory to watch."""
    memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    processors = os.sysconf('SC_NPROCESSORS_CONF')
    return max(1, min(memory // _MEMORY_SHARE, _MOST_MEMORY) // (
        _AREA_MEMORY + _PROCESSOR_MEMORY * processors))


def _delete(name: str, region: str) -> None:
    try:
        _tell(name, 'watch', f'@stats_delete {region}')
    except exception.DeviceMapperError as error:
        LOG.debug('%s', error)  # it went with the device


def _tell(name: str, action: str, text: str) -> str:
    try:
        return dmsetup.message(name, text)
    except (processutils.ProcessExecutionError, OSError) as error:
        reason = getattr(error, 'stderr', None) or str(error)
        raise exception.DeviceMapperError(
            action=action, device=name, reason=reason.strip()) from error
