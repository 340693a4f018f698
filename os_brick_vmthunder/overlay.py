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

"""A volume's device in ``vmm`` mode: a qcow2 overlay, and its origin.

    cached template = origin, the overlay's backing file
    diff LUN = /dev/mapper/vmthunder-<volume id>, the overlay

The hypervisor makes the volume out of both. What an overlay says of its
backing file can't be opened: who uses it has to name the origin. Past the
end of the backing file an overlay reads as zero, so the origin is as long as
the template and never changes.
"""

from oslo_concurrency import processutils

from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder import overlaystore
from os_brick_vmthunder.privileged import qcow2
from os_brick_vmthunder import sysfs
from os_brick_vmthunder import volumedevice


class VolumeOverlay(volumedevice.VolumeDevice):
    """What a hypervisor makes a guest's disk of.

    The device is one above the diff's map, so that whoever still uses it
    keeps the map from going, and is told of.
    """

    @property
    def backing(self) -> str:
        """Path of the origin, raw."""
        return dm.path_of(self._origin_name)

    @property
    def info(self) -> dict[str, str]:
        return {**super().info, 'format': 'qcow2', 'backing': self.backing}

    @property
    def size(self) -> int:
        return overlaystore.volume_size(
            dm.length(self._name) * connection.SECTOR, self._chunk)

    def claim(self, cached: str) -> None:
        dm.create(self._origin_name, self._uuid('origin'),
                  [dm.Linear(0, self._template, cached)], readonly=True)

    def create(self, cached: str, diff: str) -> str:
        self._check_holds(diff, self._volume.volume_size)
        self.claim(cached)
        dm.create(self._name, self._uuid('volume'),
                  [dm.Linear(0, sysfs.size(diff) // connection.SECTOR, diff)])
        return self.path

    def grow(self) -> None:
        """Make the overlay's disk as long as the volume, if it isn't.

        QEMU does that itself where it runs when the volume is extended.

        :raises OverlayError: it could not.
        """
        try:
            length, _is_empty = qcow2.look(self.path)
            if length < self.size:
                qcow2.resize(self.path, self.size)
        except (OSError, processutils.ProcessExecutionError) as error:
            raise exception.OverlayError(
                volume=self._volume.volume_id,
                reason=getattr(error, 'stderr', None) or error) from error

    def _store_size(self, size: int) -> int:
        return overlaystore.store_size(size, self._chunk)
