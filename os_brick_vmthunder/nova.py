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

from typing import Any

import nova.conf
from nova import utils
from nova.virt.libvirt.volume import volume as libvirt_volume
from os_brick.initiator import connector
from oslo_log import log as logging

from os_brick_vmthunder import connection

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)


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

        :param connection_info: learns the path of the volume's device.
        """
        data = connection_info['data']
        device = self._connector.connect_volume(data)
        LOG.debug('Attached %s', device, instance=instance)
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
