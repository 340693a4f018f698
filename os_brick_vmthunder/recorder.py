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

import time
from typing import Callable

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

# By which a recording is known to be ours.
_PROGRAM = 'vmthunder'
# Of the counters behind an area's place: sectors read.
_SECTORS_READ = 2


class Recording:
    """What is read of a device from now on.

    :param name: device-mapper name of an origin.
    :param size: bytes of the template, with which it begins.
    :raises DeviceMapperError: the kernel refuses.
    """

    def __init__(self, name: str, size: int,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._size = size
        self._clock = clock
        self._area = profile.area_size(size) // sysfs.SECTOR
        self._numbers: dict[int, None] = {}
        self._attached = self._began = self._changed = clock()
        self._region = _tell(name, 'watch', (
            f'@stats_create 0+{size // sysfs.SECTOR} {self._area} '
            f'{_PROGRAM}')).strip()

    @property
    def profile(self) -> profile.Profile:
        """What was read so far."""
        return profile.Profile.of(self._size, self._numbers)

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
        lines = _tell(self._name, 'watch',
                      f'@stats_print {self._region}').splitlines()
        new = [number for number in map(self._number, lines)
               if number is not None and number not in self._numbers]
        if new:
            self._changed = self._clock()
            if not self._numbers:
                self._began = self._changed
            self._numbers.update(dict.fromkeys(new))

    def end(self) -> None:
        """Have the kernel count no more."""
        _delete(self._name, self._region)

    def _number(self, line: str) -> int | None:
        """Return the number of an area's line if it was read."""
        place, *counters = line.split()
        if counters[_SECTORS_READ] == '0':
            return None
        return int(place.partition('+')[0]) // self._area


def end_all(name: str) -> None:
    """End the recordings of a device that an agent which died began."""
    try:
        for line in _tell(name, 'watch',
                          f'@stats_list {_PROGRAM}').splitlines():
            _delete(name, line.partition(':')[0])
    except exception.DeviceMapperError as error:
        LOG.debug('%s', error)


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
