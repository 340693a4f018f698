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

"""What nova-compute does with a volume, as its own user; all runs there.

It is Nova's own code, up to what needs libvirt.
"""

import pathlib
import shlex
from typing import Any
from unittest import mock

from tests.lab import serviceuser

# Import these into a host's worker before the first call.
MODULES = ('nova.config', 'nova.virt.libvirt.driver',
           'os_brick_vmthunder.nova')

LOCKS = '/var/lib/nova/tmp'

_CONF = pathlib.Path('/etc/nova/nova.conf')
_SETTINGS = f'''\
[DEFAULT]
debug = true
[oslo_concurrency]
lock_path = {LOCKS}
'''


def install() -> None:
    """Make the host one of Nova's, as root."""
    serviceuser.make('nova', {str(_CONF): _SETTINGS}, ['tmp'])


def connector(address: str) -> dict[str, Any]:
    """Return what Cinder has to know about the host."""
    _become_nova()
    import nova.conf
    from nova import utils
    from os_brick.initiator import connector as brick

    nova.conf.CONF.set_override('my_block_storage_ip', address)
    return dict(brick.get_connector_properties(
        utils.get_root_helper(), address, True, enforce_multipath=True,
        host='compute'))


def connect(data: dict[str, Any]) -> str:
    """Attach a volume; return the path that the guest's disk gets."""
    driver, info = _driver(), _info(data)
    driver.connect_volume(info, mock.Mock(task_state=None))
    disk = driver.get_config(info, {'type': 'disk', 'dev': 'vda',
                                    'bus': 'virtio'})
    return str(disk.source_path)


def extend(data: dict[str, Any], size: int) -> int:
    """See an attached volume's new size; return it in bytes."""
    return int(_driver().extend_volume(_info(data), None, size))


def disconnect(data: dict[str, Any]) -> None:
    _driver().disconnect_volume(_info(data), None)


def _info(data: dict[str, Any]) -> dict[str, Any]:
    return {'driver_volume_type': 'vmthunder', 'data': data,
            'serial': data['volume_id']}


def _driver() -> Any:
    """Return the volume driver as Nova's libvirt driver makes it."""
    _become_nova()
    from nova.virt.libvirt import driver
    from oslo_utils import importutils

    host = mock.Mock()  # which only tells of secrets of encrypted volumes
    host.find_secret.return_value = None
    return importutils.import_object(driver.VOLUME_DRIVERS['vmthunder'],
                                     host)


def _become_nova() -> None:
    serviceuser.become('nova')
    import nova.conf
    from nova import config
    from nova import utils
    import os_brick
    from oslo_log import log as logging
    from oslo_privsep import priv_context

    config.parse_args(['nova-compute', '--config-file', str(_CONF)],
                      configure_db=False, init_rpc=False)
    logging.setup(nova.conf.CONF, 'nova')
    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    os_brick.setup(nova.conf.CONF)
