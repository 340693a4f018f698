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

"""What functional tests do on a compute host; all runs there."""

import dataclasses
import glob
import hashlib
import os
import pathlib
import re
import subprocess
import threading
import time
from typing import Any, Callable
from unittest import mock

from os_brick_vmthunder.caches import coalescing
from os_brick_vmthunder import linger
from os_brick_vmthunder import logins
from os_brick_vmthunder import nodes
from os_brick_vmthunder.privileged import dmsetup
from os_brick_vmthunder import sysfs
from tests.lab import brick

_BLOCK = 1 << 20


def connect(data: dict[str, Any]) -> str:
    """Attach a volume and return its device."""
    return str(brick.connect('vmthunder', data, True)['path'])


def disconnect(data: dict[str, Any], force: bool = False) -> None:
    brick.disconnect('vmthunder', data, None, True, force=force)


def extend(data: dict[str, Any]) -> int:
    """See an attached volume's new size; return it in bytes."""
    return brick.extend('vmthunder', data, True)


def connect_impatiently(data: dict[str, Any]) -> str:
    """Attach a volume; its paths are given up as soon as a relay's."""
    with mock.patch.object(nodes, 'SETTINGS', nodes.RELAY_SETTINGS):
        return connect(data)


def extend_in_outage(data: dict[str, Any], path: str, offset: int,
                     content: bytes) -> int:
    """Extend; the network goes when the diff's map gets another table.

    It comes back when the kernel has given up what was under way.

    :param path: the volume's device.
    :param offset: where a guest writes just then.
    :param content: what it writes.
    """
    resume = dmsetup.resume
    guest = threading.Thread(target=write, args=(path, offset, content))
    network = threading.Thread(target=_restore_network, args=(data,))

    def resume_in_outage(name: str) -> None:
        if guest.ident is None:
            _route(data, 'add')
            guest.start()
            time.sleep(0.5)  # it waits for the storage host now
            network.start()
        resume(name)

    with mock.patch.object(dmsetup, 'resume', resume_in_outage):
        size = extend(data)
    guest.join()
    network.join()
    return size


def _restore_network(data: dict[str, Any]) -> None:
    disks = [disk for disk in glob.glob('/sys/block/sd*/device')
             if _read(f'{disk}/model') == 'diff']
    sysfs.wait(lambda: all(_read(f'{disk}/state') == 'transport-offline'
                           for disk in disks), 60)
    time.sleep(1)
    _route(data, 'del')


def _route(data: dict[str, Any], action: str) -> None:
    for path in data['diff']['paths']:
        subprocess.run(['ip', 'route', action, 'blackhole',
                        path['portal'].partition(':')[0]], check=True)


def length(path: str) -> int:
    """Return a device's size in bytes."""
    with open(path, 'rb') as file:
        return file.seek(0, os.SEEK_END)


def suspended() -> list[str]:
    """Return the device-mapper devices that let nothing pass."""
    return [_read(f'{dm}/name') for dm in glob.glob('/sys/block/dm-*/dm')
            if _read(f'{dm}/suspended') != '0']


def sparingly(function: Callable[[dict[str, Any]], Any],
              data: dict[str, Any]) -> None:
    """Call a function that makes no more devices of a kind than two."""
    coalescing._LOOPS = 2
    function(data)


def checksum(path: str, size: int, offset: int = 0) -> str:
    """Return the SHA-256 of a part of a device, read past the page cache."""
    digest = hashlib.sha256()
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        while size:
            data = os.pread(file, min(size, _BLOCK), offset)
            if not data:
                raise EOFError(f'{path} ends at {offset}')
            digest.update(data)
            size -= len(data)
            offset += len(data)
    finally:
        os.close(file)
    return digest.hexdigest()


def is_zero(path: str, offset: int) -> bool:
    """Whether a device reads as zeroes from there to its end."""
    zeroes = bytes(_BLOCK)
    with open(path, 'rb', buffering=0) as file:
        file.seek(offset)
        while data := file.read(_BLOCK):
            if data != zeroes[:len(data)]:
                return False
    return True


def write(path: str, offset: int, data: bytes) -> None:
    """Write through to a device."""
    file = os.open(path, os.O_WRONLY | os.O_SYNC)
    try:
        assert os.pwrite(file, data, offset) == len(data)
    finally:
        os.close(file)


def read(path: str, offset: int, size: int) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(file, size, offset)
    finally:
        os.close(file)


def template_bytes() -> int:
    """Return what was read of all attached templates over the network."""
    return sum(disk.read_bytes for disk in template_disks())


@dataclasses.dataclass(frozen=True)
class Disk:
    """One path to a template.

    :ivar relay: it leads to a relay, not to the storage host.
    :ivar map: what stands on it.
    :ivar timeout: of a SCSI command, in seconds.
    :ivar depth: how many requests it gets at once.
    :ivar largest_kib: what one of them may ask for.
    :ivar reads: how many requests it got.
    """

    name: str
    relay: bool
    map: str
    timeout: int
    depth: int
    largest_kib: int
    reads: int
    read_bytes: int


def template_disks() -> list[Disk]:
    """Return all paths to templates, those to relays first."""
    disks = []
    for path in map(pathlib.Path, glob.glob('/sys/block/sd*')):
        model = _read(f'{path}/device/model')
        if model in ('template', 'relay'):
            fields = (path / 'stat').read_text().split()
            disks.append(Disk(
                path.name, model == 'relay',
                ' '.join(sorted(os.listdir(path / 'holders'))),
                int(_read(f'{path}/device/timeout')),
                int(_read(f'{path}/device/queue_depth')),
                int(_read(f'{path}/queue/max_sectors_kb')),
                int(fields[0]), int(fields[2]) * 512))
    return sorted(disks, key=lambda disk: (not disk.relay, disk.name))


def log_in_to_missing(template_id: str) -> int:
    """Do what a host's agent would, and return for how many paths."""
    prepared = logins.Logins(brick.connector('vmthunder', True))
    missing = prepared.missing(template_id)
    for node in missing:
        prepared.log_in(node)
    return len(missing)


def sweep() -> None:
    """Take down what no volume uses, as a host's agent would."""
    connector = brick.connector('vmthunder', True)
    linger.sweep(connector._paths, connector._cache, connector._config)


def configure(**options: Any) -> None:
    """Write this host's settings.

    If nothing else is said it doesn't prefetch: what is read is counted.
    """
    path = pathlib.Path('/etc/vmthunder/vmthunder.conf')
    path.parent.mkdir(exist_ok=True)
    path.write_text('[DEFAULT]\n' + ''.join(
        f'{name} = {value}\n'
        for name, value in {'prefetch': 'off', **options}.items()))


def leftovers() -> list[str]:
    """Return all that attaching makes on a host and that is still there.

    The shared cache device and what it keeps of templates is not counted,
    nor what this host has recorded of boots for others.
    """
    left = [f'dm {_read(name)}'
            for name in glob.glob('/sys/block/dm-*/dm/name')]
    left += [f'export {os.path.basename(path)}' for pattern in
             ('iscsi/iqn.*', 'core/iblock_*/iqn.*')
             for path in glob.glob('/sys/kernel/config/target/' + pattern)]
    left += [f'noted {name}' for name in _names(pathlib.Path('/run/vmthunder'))
             if not name.startswith('recorded-')]
    left += [f'disk {os.path.basename(disk)}'
             for disk in glob.glob('/sys/block/sd*')]
    left += [f'bcache {os.path.basename(disk)}'
             for disk in glob.glob('/sys/block/bcache*')]
    left += [f'session {name}'
             for name in glob.glob('/sys/class/iscsi_session/*')]
    left += [f'node {name}' for name in glob.glob('/etc/iscsi/nodes/*/*')]
    for backing in glob.glob('/sys/block/loop*/loop/backing_file'):
        if not _read(backing).endswith('/cache.img'):
            left.append(f'loop {_read(backing)}')
    left += [f'file {name}' for name in glob.glob('/tmp/*vmthunder*')]
    left += [f'lock {lock}' for lock in _names(brick.LOCKS)
             if not re.fullmatch(
                 r'os-brick-(vmthunder-.*|connect_volume|'
                 r'connect_to_iscsi_portal)', lock)]
    return left


def _names(directory: pathlib.Path) -> list[str]:
    return [path.name for path in directory.glob('*')]


def cached() -> list[str]:
    """Return what a host keeps of templates, and of the cache itself."""
    kept = [name for name in glob.glob('/var/lib/vmthunder/**/*',
                                       recursive=True)
            if os.path.isfile(name)]
    kept += [f'bcache set {name}' for name in glob.glob('/sys/fs/bcache/*-*')]
    kept += [f'loop {_read(backing)}' for backing in
             glob.glob('/sys/block/loop*/loop/backing_file')]
    return kept


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:  # it just went
        return path
