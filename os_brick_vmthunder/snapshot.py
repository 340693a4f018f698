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

"""A volume's device in ``dm`` mode: origin and dm-snapshot.

    cached template (+) zero to the volume's size = origin
    origin + diff LUN = /dev/mapper/vmthunder-<volume id>
"""

from typing import Optional

from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder import exceptionstore
from os_brick_vmthunder import sysfs
from os_brick_vmthunder import volumedevice


class VolumeSnapshot(volumedevice.VolumeDevice):
    """The writable snapshot that a guest gets as its disk."""

    @property
    def size(self) -> int:
        return dm.length(self._name) * connection.SECTOR

    def find(self) -> Optional[str]:
        """Return the volume's device if it is there and sound.

        :raises SnapshotInvalid: it is there, and the kernel gave it up.
        """
        found = super().find()
        if found:
            self._check()
        return found

    def claim(self, cached: str) -> None:
        self._make_origin(cached, self._volume.volume_size)

    def create(self, cached: str, diff: str) -> str:
        """Make the volume's device over its origin.

        :raises DiffTooSmall: the diff could overflow.
        :raises SnapshotInvalid: the kernel gave it up earlier.
        """
        size = max(self._volume.volume_size, self.size,
                   exceptionstore.volume_size(sysfs.size(diff), self._chunk))
        self._check_holds(diff, size)
        # A snapshot may not be longer than its origin.
        self._make_origin(cached, size)
        dm.create(self._name, self._uuid('volume'), [
            dm.Snapshot(0, size // connection.SECTOR,
                        dm.path_of(self._origin_name), diff,
                        chunk_sectors=self._volume.diff.chunk_sectors)])
        self._check()
        return self.path

    def grow(self) -> None:
        """Leave it: the device was made that long."""

    def _store_size(self, size: int) -> int:
        return exceptionstore.store_size(size, self._chunk)

    def _make_origin(self, cached: str, size: int) -> None:
        length = max(size // connection.SECTOR, dm.length(self._origin_name))
        dm.create(self._origin_name, self._uuid('origin'),
                  dm.padded(cached, self._template, length), readonly=True)

    def _check(self) -> None:
        status = dm.snapshot_status(self._name)
        if not status.valid:
            raise exception.SnapshotInvalid(volume=self._volume.volume_id,
                                            state=status.state)
