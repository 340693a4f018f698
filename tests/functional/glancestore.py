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

"""What Glance's Cinder store does with a volume, as Glance's own user.

It is the store's own code, up to Cinder's API; all runs on the host.
"""

import hashlib
import pathlib
import types
from typing import Any
from unittest import mock

from tests.lab import serviceuser

# Import these into a host's worker before the first call.
MODULES = ('glance_store._drivers.cinder.store',
           'os_brick_vmthunder.initiator.connectors.vmthunder')

_CONF = pathlib.Path('/etc/glance/glance-api.conf')
_SETTINGS = '''\
[oslo_concurrency]
lock_path = /var/lib/glance/tmp
'''


def install() -> None:
    """Make the host one of Glance's, as root."""
    serviceuser.make('glance', {str(_CONF): _SETTINGS}, ['tmp'])


def checksum(address: str, data: dict[str, Any],
             size: int) -> tuple[str, dict[str, Any]]:
    """Read a volume as an image that is stored in it.

    :param address: of the host.
    :returns: SHA-256 of its first bytes, and the host's connector.
    """
    serviceuser.become('glance')
    from glance_store._drivers.cinder import store
    import os_brick
    from oslo_config import cfg

    cfg.CONF(['--config-file', str(_CONF)], project='glance')
    os_brick.setup(cfg.CONF)
    cinder = mock.Mock()
    cinder.attachment_create.return_value = {'id': 'attachment'}
    # the attachments API puts both on one level
    cinder.attachment_update.return_value.connection_info = {
        'driver_volume_type': 'vmthunder', **data}
    glance = store.Store.__new__(store.Store)
    glance.volume_api = cinder
    glance.volume_connector_map = {}
    glance.store_conf = types.SimpleNamespace(
        rootwrap_config='/etc/glance/rootwrap.conf',
        cinder_use_multipath=True, cinder_enforce_multipath=False,
        cinder_mount_point_base='')
    volume = mock.Mock(id=data['volume_id'], multiattach=False)
    with mock.patch.object(store.Store, '_get_host_ip',
                           return_value=address), \
            glance._open_cinder_volume(mock.Mock(), volume, 'rb') as file:
        digest = hashlib.sha256(file.read(size)).hexdigest()
    return digest, dict(cinder.attachment_update.call_args.args[2])
