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

"""The volume driver of Nova's libvirt driver for ``vmthunder`` volumes.

Only nova-compute imports this; see :mod:`.registration`.
"""

from typing import Any, Callable

from lxml import etree
from nova.compute import task_states
import nova.conf
from nova import utils
from nova.virt.libvirt import config as libvirt_config
from nova.virt.libvirt.volume import volume as libvirt_volume
from os_brick.initiator import connector
from oslo_log import log as logging

from os_brick_vmthunder import connection
from os_brick_vmthunder import modes
from os_brick_vmthunder import overlay

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

# The process that imports this hands overlays to QEMU as what they are.
modes.offer(connection.SnapshotMode.VMM)


class LibvirtVMThunderVolumeDriver(libvirt_volume.LibvirtVolumeDriver):
    """Attaches volumes by the connector, and describes them to libvirt.

    What the connector says of a failure tells what to do, and is left to
    Nova as it is. The guest's I/O is left to QEMU's threads, whatever Nova
    does for plain iSCSI: what stands below queues when no path is left, and
    native AIO would hold QEMU's main loop there.
    """

    def __init__(self, host: Any) -> None:
        super().__init__(host)
        self._connector = connector.InitiatorConnector.factory(
            connection.PROTOCOL, utils.get_root_helper(),
            device_scan_attempts=CONF.libvirt.num_volume_scan_tries)

    def connect_volume(self, connection_info: dict[str, Any],
                       instance: Any) -> None:
        """Attach a volume to this host.

        A guest that starts here finds a volume that was extended while it
        was off. One that comes here running is still open elsewhere.

        :param connection_info: learns the path of the volume's device.
        """
        data = connection_info['data']
        device = self._connector.connect_volume(data)
        LOG.debug('Attached %s', device, instance=instance)
        if instance.task_state != task_states.MIGRATING:
            self._connector.grow_volume(data)
        data['device_path'] = device['path']

    def disconnect_volume(self, connection_info: dict[str, Any],
                          instance: Any, force: bool = False) -> None:
        """Detach a volume from this host.

        :param force: go on after a failed step, and tell at the end.
        """
        self._connector.disconnect_volume(connection_info['data'], None,
                                          force=force)
        LOG.debug('Detached volume %s', connection_info['data']['volume_id'],
                  instance=instance)

    def get_config(self, connection_info: dict[str, Any],
                   disk_info: dict[str, Any]) -> Any:
        """Describe the guest's disk to libvirt.

        Nothing of this host is looked at: before a live migration, Nova
        asks the old host for the disk on the new one.
        """
        disk = super().get_config(connection_info, disk_info)
        volume = connection.Connection.from_dict(connection_info['data'])
        return _DISKS[volume.mode](disk, volume)

    def extend_volume(self, connection_info: dict[str, Any], instance: Any,
                      requested_size: int) -> int:
        """See the new size of a volume that was extended.

        :param requested_size: not used, the diff tells.
        :returns: the volume's size in bytes.
        """
        size = self._connector.extend_volume(connection_info['data'])
        LOG.debug('Volume %(id)s has %(size)d bytes now',
                  {'id': connection_info['data']['volume_id'], 'size': size},
                  instance=instance)
        return size


class OverlayDisk(libvirt_config.LibvirtConfigGuestDisk):
    """A disk that is a qcow2 overlay, with its backing file.

    Nova has no words for that. What the overlay itself says of its backing
    file can't be opened; libvirt doesn't look if it is told.

    :param disk: as Nova describes a raw one.
    :param backing: path of the origin.
    """

    def __init__(self, disk: Any, backing: str) -> None:
        super().__init__()
        self.__dict__.update(vars(disk))
        self.driver_format = 'qcow2'
        self._backing = backing

    def format_dom(self) -> Any:
        dom = super().format_dom()
        store = etree.SubElement(dom, 'backingStore', type='block')
        etree.SubElement(store, 'format', type='raw')
        etree.SubElement(store, 'source', dev=self._backing)
        etree.SubElement(store, 'backingStore')  # the chain ends there
        return dom


def _raw(disk: Any, _volume: connection.Connection) -> Any:
    return disk


def _overlay(disk: Any, volume: connection.Connection) -> Any:
    return OverlayDisk(disk, overlay.VolumeOverlay(volume).backing)


_DISKS: dict[connection.SnapshotMode,
             Callable[[Any, connection.Connection], Any]] = {
    connection.SnapshotMode.DM: _raw,
    connection.SnapshotMode.VMM: _overlay}
