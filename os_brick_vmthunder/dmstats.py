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

"""device-mapper's statistics: what was read of the areas of a device.

They are in every kernel that has device-mapper, need nothing to be mounted or
traced and cost memory for each area alone, while they last. The kernel's
Documentation/admin-guide/device-mapper/statistics.rst tells of them.
"""

import os

from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder import exception
from os_brick_vmthunder.privileged import dmsetup
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

# Bytes of kernel memory that areas may take, and which part of the host's.
_MOST_MEMORY, _MEMORY_SHARE = 256 << 20, 16
# Bytes that one takes: in any case, and for each processor (struct dm_stat in
# the kernel's drivers/md/dm-stats.c).
_AREA_MEMORY, _PROCESSOR_MEMORY = 136, 104

# By which what is counted is known to be ours.
_PROGRAM = 'vmthunder'
# Of the counters behind an area's place: sectors read.
_SECTORS_READ = 2
# How many of these are asked for at once: the answer comes in one piece.
_MOST_LINES = 8192


class Region:
    """A part of a device, in areas whose reads are counted from now on.

    :param name: device-mapper's, of the device.
    :param begin: byte at which it begins.
    :param length: bytes.
    :param area: bytes of an area.
    :raises DeviceMapperError: the kernel refuses.
    """

    def __init__(self, name: str, begin: int, length: int, area: int) -> None:
        self._name = name
        self._areas = -(-length // area)
        self._number = _tell(name, (
            f'@stats_create {begin // sysfs.SECTOR}+{length // sysfs.SECTOR} '
            f'{area // sysfs.SECTOR} {_PROGRAM}')).strip()

    def sectors_read(self) -> list[int]:
        """Return what was read of each area.

        :raises DeviceMapperError: the device is gone.
        """
        return self.sectors_read_of(range(self._areas))

    def sectors_read_of(self, numbers: range) -> list[int]:
        """Return what was read of some areas; see :meth:`sectors_read`.

        :param numbers: theirs; what is behind the last counts for nothing.
        """
        end = min(numbers.stop, self._areas)
        return [_sectors(line)
                for begin in range(numbers.start, end, _MOST_LINES)
                for line in _tell(self._name, (
                    f'@stats_print {self._number} {begin} '
                    f'{min(_MOST_LINES, end - begin)}')).splitlines()]

    def end(self) -> None:
        """Have the kernel count no more."""
        _delete(self._name, self._number)


def end_all(name: str) -> None:
    """End what an agent which died began to count of a device."""
    try:
        for line in _tell(name, f'@stats_list {_PROGRAM}').splitlines():
            _delete(name, line.partition(':')[0])
    except exception.DeviceMapperError as error:
        LOG.debug('%s', error)


def most_areas() -> int:
    """Return how many areas this host has the memory to watch."""
    memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    processors = os.sysconf('SC_NPROCESSORS_CONF')
    return max(1, min(memory // _MEMORY_SHARE, _MOST_MEMORY) // (
        _AREA_MEMORY + _PROCESSOR_MEMORY * processors))


def _sectors(line: str) -> int:
    _place, *counters = line.split()
    return int(counters[_SECTORS_READ])


def _delete(name: str, number: str) -> None:
    try:
        _tell(name, f'@stats_delete {number}')
    except exception.DeviceMapperError as error:
        LOG.debug('%s', error)  # it went with the device


def _tell(name: str, text: str) -> str:
    try:
        return dmsetup.message(name, text)
    except (processutils.ProcessExecutionError, OSError) as error:
        reason = getattr(error, 'stderr', None) or str(error)
        raise exception.DeviceMapperError(
            action='watch', device=name, reason=reason.strip()) from error
