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

"""A volume's device: origin and dm-snapshot.

    cached template (+) zero to the volume's size = origin
    origin + diff LUN = /dev/mapper/vmthunder-<volume id>

What is there is made longer, also while it is used, and never shorter.
"""

from typing import Optional

from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder import exceptionstore
from os_brick_vmthunder import sysfs

_PREFIX = 'vmthunder-'


class VolumeSnapshot:
    """The writable snapshot that a guest gets as its disk."""

    def __init__(self, volume: connection.Connection) -> None:
        self._volume = volume
        self._name = _PREFIX + volume.volume_id
        self._origin_name = f'{self._name}-origin'

    @property
    def path(self) -> str:
        return dm.path_of(self._name)

    @property
    def size(self) -> int:
        """Bytes of the volume's device, 0 if it isn't there."""
        return dm.length(self._name) * connection.SECTOR

    def find(self) -> Optional[str]:
        """Return the volume's device if it is there and sound.

        :raises SnapshotInvalid: it is there, and the kernel gave it up.
        """
        if dm.find(self._name) is None:
            return None
        self._check()
        return self.path

    def claim(self, cached: str) -> None:
        """Make the volume's origin: from now on the host stack stays.

        :param cached: device of the cached template.
        """
        self._make_origin(cached, self._volume.volume_size)

    def fits(self, diff: str) -> bool:
        """Tell whether a diff can hold all of the volume.

        :param diff: multipath map of it.
        """
        return self._holds(diff, self._volume.volume_size)

    def create(self, cached: str, diff: str) -> str:
        """Make the volume's device over its origin.

        The connection may be older than the volume's last extension: the
        diff tells what it was made for.

        :param cached: device of the cached template.
        :param diff: multipath map of the volume's diff.
        :returns: path of the volume's device.
        :raises DiffTooSmall: the diff could overflow.
        :raises SnapshotInvalid: the kernel gave it up earlier.
        """
        size = max(self._volume.volume_size, self.size,
                   exceptionstore.volume_size(sysfs.size(diff), self._chunk))
        if not self._holds(diff, size):
            raise exception.DiffTooSmall(volume=self._volume.volume_id,
                                         there=sysfs.size(diff), size=size)
        # A snapshot may not be longer than its origin.
        self._make_origin(cached, size)
        dm.create(self._name, self._uuid('volume'), [
            dm.Snapshot(0, size // connection.SECTOR,
                        dm.path_of(self._origin_name), diff,
                        chunk_sectors=self._volume.diff.chunk_sectors)])
        self._check()
        return self.path

    def remove(self) -> None:
        """Remove the volume's device; its data stays in the diff.

        :raises DeviceBusy: something still has it open.
        """
        names = self._name, self._origin_name
        for name in names:  # or who waits for it could never close it
            dm.wake(name)
        for name in names:
            dm.remove(name)

    @property
    def _chunk(self) -> int:
        return self._volume.diff.chunk_sectors * connection.SECTOR

    def _holds(self, diff: str, size: int) -> bool:
        return sysfs.size(diff) >= exceptionstore.store_size(size,
                                                             self._chunk)

    def _make_origin(self, cached: str, size: int) -> None:
        template = self._volume.template.size // connection.SECTOR
        length = max(size // connection.SECTOR, dm.length(self._origin_name))
        dm.create(self._origin_name, self._uuid('origin'),
                  dm.padded(cached, template, length), readonly=True)

    def _uuid(self, kind: str) -> str:
        return f'VMTHUNDER-{kind}-{self._volume.volume_id}'

    def _check(self) -> None:
        status = dm.snapshot_status(self._name)
        if not status.valid:
            raise exception.SnapshotInvalid(volume=self._volume.volume_id,
                                            state=status.state)
