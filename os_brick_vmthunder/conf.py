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

"""What this host is: /etc/vmthunder/vmthunder.conf.

The file has a parser of its own, so that Nova, Cinder and every other process
that attaches volumes read the same host's settings whatever they configure
for themselves.
"""

import dataclasses
from typing import Any

from oslo_config import cfg

from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _

DEFAULT_FILE = '/etc/vmthunder/vmthunder.conf'

#: What of a template is fetched ahead of the guests.
PREFETCH_OFF, PREFETCH_PROFILE, PREFETCH_ALL = 'off', 'profile', 'all'

_GIB = 1 << 30

OPTIONS = [
    cfg.StrOpt('cache',
               default='bcache',
               choices=[('bcache', 'blocks that guests read stay on a local '
                                   'disk'),
                        ('dm-cache', 'blocks that guests read often stay on '
                                     'a local disk'),
                        ('flashcache', 'for old kernels that have that '
                                       'module; nothing stays when the last '
                                       'volume of a template is detached'),
                        ('opencas', 'a cache of Open CAS that runs already; '
                                    'nothing stays when the last volume of '
                                    'a template is detached'),
                        ('none', 'every read goes over the network')],
               help='Cache layer for templates. "vmthunder cache layers" '
                    'tells which can work on this host. Drop the cache '
                    'before you change the layer.'),
    cfg.StrOpt('cache_device',
               default='',
               help='Block device that takes the cache of all templates, as '
                    '/dev/disk/by-id/nvme-... . It must be empty; it is '
                    'formatted when the first volume is attached. If not '
                    'set, a sparse file takes its place: see cache_file.'),
    cfg.StrOpt('cache_file',
               default='/var/lib/vmthunder/cache.img',
               help='Sparse file that takes the cache if no cache_device is '
                    'named. It is made when the first volume is attached.'),
    cfg.IntOpt('cache_size_gb',
               default=32,
               min=1,
               help='Largest size of cache_file in GiB. The file takes at '
                    'most half of what is free on its file system when it '
                    'is made. A cache of less than 32 GiB keeps less of what '
                    'is read first, the more so the slower its disk is at '
                    'writing. To change it later, drop the cache first.'),
    cfg.IntOpt('opencas_cache_id',
               default=1,
               min=1,
               max=16384,
               help='Id of the cache of Open CAS that takes templates, if '
                    'cache = opencas.'),
    cfg.StrOpt('state_dir',
               default='/var/lib/vmthunder',
               help='Directory for what this host has to keep about '
                    'templates: about 1 MiB each. It must be on a local '
                    'disk.'),
    cfg.PortOpt('relay_port',
                default=3260,
                help='Port on which this host serves templates on to other '
                     'hosts. 0: it serves none.'),
    cfg.StrOpt('relay_address',
               default='',
               help='Address of this host for that, one that the other '
                    'hosts reach. If not set, the address that the '
                    'attaching service announces, as my_block_storage_ip '
                    'of Nova.'),
    cfg.IntOpt('relay_wait',
               default=20,
               min=0,
               help='How many seconds the first volume of a template waits '
                    'for another host that is to serve it here and does not '
                    'yet. Then it starts from the storage host.'),
    cfg.IntOpt('relay_linger',
               default=300,
               min=0,
               help='How many seconds this host serves a template on after '
                    'its last volume here was detached, if other hosts read '
                    'from it.'),
    cfg.StrOpt('prefetch',
               default=PREFETCH_PROFILE,
               choices=[(PREFETCH_OFF, 'nothing; nor are boots recorded'),
                        (PREFETCH_PROFILE, 'what an earlier boot of the '
                                           'template read, in that order'),
                        (PREFETCH_ALL, 'that, and then the rest of the '
                                       'template, until this host needs '
                                       'nobody for it')],
               help='What this host fetches of a template ahead of its '
                    'guests, into its cache. Guests go first, but for the '
                    'first 64 MiB of what an earlier boot read. It is the '
                    'agent that fetches: without it nothing is.'),
    cfg.StrOpt('zone',
               default='',
               help='Where this host is. Hosts of one zone serve each other '
                    'first.'),
]


@dataclasses.dataclass(frozen=True)
class HostConfig:
    """Settings of this host.

    :ivar file: where they come from, for messages.
    :ivar cache: name of the cache layer, as 'bcache'.
    :ivar cache_device: path of the block device for the cache, or ''.
    :ivar cache_file: path of the file that stands in for it.
    :ivar cache_size: largest size of that file in bytes.
    :ivar opencas_cache_id: of the cache of Open CAS to use.
    :ivar state_dir: path of a directory.
    :ivar relay_port: TCP port to serve other hosts on; 0 for not at all.
    :ivar relay_address: of this host, or '' for what the connector says.
    :ivar relay_wait: seconds to wait for others to serve.
    :ivar relay_linger: seconds to serve on without a volume.
    :ivar prefetch: what to fetch ahead: 'off', 'profile' or 'all'.
    :ivar zone: where this host is, or ''.
    """

    file: str = DEFAULT_FILE
    cache: str = 'bcache'
    cache_device: str = ''
    cache_file: str = '/var/lib/vmthunder/cache.img'
    cache_size: int = 32 * _GIB
    opencas_cache_id: int = 1
    state_dir: str = '/var/lib/vmthunder'
    relay_port: int = 3260
    relay_address: str = ''
    relay_wait: int = 20
    relay_linger: int = 300
    prefetch: str = PREFETCH_PROFILE
    zone: str = ''


def load(file: str = DEFAULT_FILE) -> HostConfig:
    """Read the host's settings; without a file they are the defaults.

    :raises ConfigurationError: the file can't be read or a value is wrong.
    """
    options = cfg.ConfigOpts()
    options.register_opts(OPTIONS)
    try:
        options(args=[], project='vmthunder',
                default_config_files=_existing(file),
                default_config_dirs=[])
        values = {option.name: getattr(options, option.name)
                  for option in OPTIONS}
    except cfg.ConfigFilesPermissionDeniedError as error:
        raise _wrong(file, _('it cannot be read; let the users that run '
                             'Nova and Cinder read it')) from error
    except (cfg.Error, ValueError) as error:
        raise _wrong(file, str(error)) from error
    for name in ('cache_device', 'cache_file', 'state_dir'):
        if values[name] and not values[name].startswith('/'):
            raise _wrong(file, _('%(option)s is %(value)s; it must be an '
                                 'absolute path') % {
                                     'option': name, 'value': values[name]})
    size = values.pop('cache_size_gb') * _GIB
    return HostConfig(file=file, cache_size=size, **values)


def list_opts() -> list[tuple[str, list[Any]]]:
    """Return the options for oslo-config-generator."""
    return [('DEFAULT', list(OPTIONS))]


def _existing(file: str) -> list[str]:
    try:
        with open(file):
            return [file]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _wrong(file, _('it cannot be read (%s)') %
                     error.strerror) from error


def _wrong(file: str, reason: str) -> exception.ConfigurationError:
    return exception.ConfigurationError(
        reason=_('%(file)s: %(reason)s.') % {'file': file,
                                             'reason': reason.rstrip('.')})
