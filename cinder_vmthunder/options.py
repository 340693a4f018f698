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

"""Options of a backend section in cinder.conf."""

from typing import Sequence

from cinder.volume import configuration
from oslo_config import cfg

DRIVER_OPTS = [
    cfg.IntOpt('vmthunder_template_retention',
               default=24 * 60 * 60,
               min=0,
               help='Seconds to keep the template of an image after the '
                    'last volume made from it is deleted. 0 removes it '
                    'together with that volume. A template also goes '
                    'earlier, oldest first, when the import of another '
                    'image needs its space.'),
    cfg.IntOpt('vmthunder_chunk_size',
               default=32,
               choices=[(size, f'{size // 2} KiB')
                        for size in (8, 16, 32, 64, 128, 256, 512, 1024,
                                     2048)],
               help='Unit of copy on write for new volumes made from images '
                    'in dm mode, in sectors of 512 bytes. A volume keeps the '
                    'size it was made with.'),
    cfg.ListOpt('vmthunder_relay_networks',
                default=[],
                help='Networks, as 192.0.2.0/24, in which compute hosts may '
                     'relay templates to each other. Relays are off while '
                     'this is empty: every host then reads from the backend '
                     'alone. Only the storage network belongs here, never '
                     'one that tenants have addresses in: what a relay '
                     'serves, other hosts take for the image, and whoever '
                     'may attach a volume can announce a relay.'),
    cfg.IntOpt('vmthunder_root_fan_out',
               default=2,
               min=1,
               help='How many hosts read a template from the backend itself. '
                    'Further ones do only while no relay has room.'),
    cfg.IntOpt('vmthunder_relay_fan_out',
               default=2,
               min=1,
               help='How many hosts have the same relay as first parent, and '
                    'how many more have it as second parent, which they read '
                    'from when the first fails.'),
    cfg.IntOpt('vmthunder_relay_grace',
               default=60,
               min=0,
               help='Seconds from handing a host the connection of a volume '
                    'until it must have logged in. A host that has no '
                    'session after that, or loses it, counts as dead: no '
                    'other is told to read from it until it is back.'),
]


def register(conf: cfg.ConfigOpts) -> None:
    """Make the options known in Cinder's section of backend defaults."""
    conf.register_opts(DRIVER_OPTS, group=configuration.SHARED_CONF_GROUP)


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """Return the options for oslo.config's generator and the docs."""
    return [(configuration.SHARED_CONF_GROUP, DRIVER_OPTS)]
