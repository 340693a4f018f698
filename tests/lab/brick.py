# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What a compute host does with a volume, run in the host's worker.

These functions are what Nova does through os-brick, in a process that is
root already: privileged functions run in it, not in a daemon beside it,
since starting one costs seconds in a lab host.
"""

import pathlib
import typing

from tests.lab import cheapforks

LOCKS = pathlib.Path('/run/lock/os-brick')

# Import these into a host's worker before the first call: it costs seconds.
MODULES = ('oslo_config.cfg', 'os_brick.initiator.connector',
           'os_brick.initiator.connectors.iscsi', 'os_brick.privileged',
           'os_brick.privileged.rootwrap',
           'os_brick_vmthunder.initiator.connectors.vmthunder')

Properties = dict[str, typing.Any]


def connector_properties(address: str, multipath: bool) -> Properties:
    """What Cinder has to know about this host.

    :param address: the host's own, on the data network.
    :param multipath: also insist on a running multipathd.
    """
    connector = _prepared()
    return dict(connector.get_connector_properties(
        'sudo', address, multipath, enforce_multipath=multipath))


def connect(protocol: str, data: Properties, multipath: bool) -> Properties:
    """Attach a volume and return os-brick's device info."""
    return dict(connector(protocol, multipath).connect_volume(data))


def disconnect(protocol: str, data: Properties,
               device_info: Properties | None, multipath: bool,
               force: bool = False) -> None:
    """Detach a volume.

    :param force: go on over what can't be flushed; its data may be lost.
    """
    connector(protocol, multipath).disconnect_volume(
        data, device_info, force=force)


def extend(protocol: str, data: Properties, multipath: bool) -> int:
    """See a volume's new size, and return it in bytes."""
    return int(connector(protocol, multipath).extend_volume(data))


def connector(protocol: str, multipath: bool) -> typing.Any:
    """Return os-brick's connector for a protocol."""
    return _prepared().InitiatorConnector.factory(
        protocol, 'sudo', use_multipath=multipath)


def _prepared() -> typing.Any:
    """os-brick's connector module, with os-brick set up to run as root."""
    import os_brick
    from os_brick.initiator import connector
    from os_brick import privileged
    from os_brick_vmthunder import privileged as vmthunder_privileged
    from oslo_concurrency import lockutils
    from oslo_config import cfg

    cheapforks.use()
    LOCKS.mkdir(parents=True, exist_ok=True)
    cfg.CONF([], project='lab', default_config_files=[])
    lockutils.set_defaults(str(LOCKS))
    os_brick.setup(cfg.CONF)
    for context in (privileged.default, privileged.brick_privsep_hide_output,
                    vmthunder_privileged.default):
        context.set_client_mode(False)
    return connector
