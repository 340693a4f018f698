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
"""

from typing import Optional

from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception

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

    def find(self) -> Optional[str]:
        """Return the volume's device if it is there and sound.

        :raises SnapshotInvalid: it is there, and its data is lost.
        """
        if dm.find(self._name) is None:
            return None
        self._check()
        return self.path

    def claim(self, cached: str) -> None:
        """Make the volume's origin: from now on the host stack stays.

        :param cached: device of the cached template.
        """
        template = self._volume.template.size // connection.SECTOR
        table: list[dm.Target] = [dm.Linear(0, template, cached, 0)]
        if self._size > template:
            table.append(dm.Zero(template, self._size - template))
        dm.create(self._origin_name, self._uuid('origin'), table,
                  readonly=True)

    def create(self, diff: str) -> str:
        """Make the volume's device over its origin.

        :param diff: multipath map of the volume's diff.
        :returns: path of the volume's device.
        :raises SnapshotInvalid: the diff says that its data is lost.
        """
        dm.create(self._name, self._uuid('volume'), [
            dm.Snapshot(0, self._size, dm.path_of(self._origin_name), diff,
                        chunk_sectors=self._volume.diff.chunk_sectors)])
        self._check()
        return self.path

    def remove(self) -> None:
        """Remove the volume's device; its data stays in the diff.

        :raises DeviceBusy: something still has it open.
        """
        dm.remove(self._name)
        dm.remove(self._origin_name)

    @property
    def _size(self) -> int:
        return self._volume.volume_size // connection.SECTOR

    def _uuid(self, kind: str) -> str:
        return f'VMTHUNDER-{kind}-{self._volume.volume_id}'

    def _check(self) -> None:
        status = dm.snapshot_status(self._name)
        if not status.valid:
            raise exception.SnapshotInvalid(volume=self._volume.volume_id,
                                            state=status.state)
