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
               default=16,
               choices=[(size, f'{size // 2} KiB')
                        for size in (8, 16, 32, 64, 128, 256, 512, 1024,
                                     2048)],
               help='Unit of copy on write for new volumes made from images, '
                    'in sectors of 512 bytes. A volume keeps the size it '
                    'was made with.'),
]


def register(conf: cfg.ConfigOpts) -> None:
    """Make the options known in Cinder's section of backend defaults."""
    conf.register_opts(DRIVER_OPTS, group=configuration.SHARED_CONF_GROUP)


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """Return the options for oslo.config's generator and the docs."""
    return [(configuration.SHARED_CONF_GROUP, DRIVER_OPTS)]
