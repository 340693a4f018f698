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

"""What lab hosts' kernels say; these functions run in the host."""

import pathlib
import subprocess
from typing import NamedTuple

from demo import fetches
from demo import maps
from os_brick_vmthunder import sysfs

# What marks the device that bcache caches of a template.
_BACKING = 'VMTHUNDER-backing-'
_ROOT = pathlib.Path('/')
# What exporting makes, anywhere.
_EXPORTS = ('sys/kernel/config/target/iscsi/iqn.*',
            'sys/kernel/config/target/core/iblock_*/*/')
# What servers and their volumes make besides on a compute host.
_COMPUTE = ('sys/block/bcache*', 'sys/block/sd*', 'sys/class/iscsi_session/*',
            'run/vmthunder/*', 'etc/libvirt/qemu/*.xml',
            'var/lib/nova/instances/*-*-*-*-*')
_QEMU = 'qemu-system'


class Look(NamedTuple):
    """What a host did with the template that is attached.

    :param sequence: the map's: all other numbers are of its life
    :param least: bytes read of its map, thus over the network, when areas
        were about to be looked at
    :param most: the same when they had been
    :param cache_bytes: read of the cached template; 0 if nothing caches it
    :param areas: of the map that were read since the last look
    """

    sequence: int
    least: int
    most: int
    cache_bytes: int
    areas: list[fetches.Area]


def look() -> Look:
    """Look at the template's counters.

    :raises LookupError: none is attached
    """
    template = maps.find()
    if template is None:
        raise LookupError('no template is attached to this host')
    baseline = fetches.baseline()
    least = sysfs.read_bytes(template.kernel) - baseline
    areas = fetches.take(template)
    most = sysfs.read_bytes(template.kernel) - baseline
    return Look(template.sequence, least, most, _cache_bytes(), areas)


def leftovers() -> list[str]:
    """What is there of servers on a compute host that should have none."""
    devices = [f'device {sysfs.attribute(name, "dm", "name")}'
               for name in sysfs.names('dm-')]
    guests = [f'QEMU, process {path.parent.name}'
              for path in _ROOT.glob('proc/[0-9]*/comm') if _is_qemu(path)]
    return devices + guests + _present(*_EXPORTS, *_COMPUTE)


def backend_leftovers(group: str) -> list[str]:
    """What is there of volumes on the storage host, besides templates."""
    volumes = subprocess.run(
        ('lvs', '--noheadings', '-o', 'lv_name', group), check=True,
        text=True, stdout=subprocess.PIPE).stdout.split()
    return _present(*_EXPORTS) + [
        name for name in volumes if name.startswith('volume-')]


def _present(*patterns: str) -> list[str]:
    return [f'/{path.relative_to(_ROOT)}' for pattern in patterns
            for path in sorted(_ROOT.glob(pattern))]


def _is_qemu(path: pathlib.Path) -> bool:
    try:
        return path.read_text().startswith(_QEMU)
    except OSError:  # it just ended
        return False


def _cache_bytes() -> int:
    for name in sysfs.names('dm-'):
        uuid = sysfs.attribute(name, 'dm', 'uuid') or ''
        if uuid.startswith(_BACKING):
            cached = sysfs.link(name, 'bcache', 'dev')
            return sysfs.read_bytes(cached) if cached else 0
    return 0
