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

"""What the tests of the cache layers do on their host; all runs there."""

from concurrent import futures
import contextlib
import glob
import hashlib
import mmap
import os
import pathlib
import random
import subprocess
import threading
import time

from os_brick_vmthunder import caches
from os_brick_vmthunder import conf
from os_brick_vmthunder import exception
from os_brick_vmthunder.privileged import loop
from os_brick_vmthunder import sysfs
from tests.lab import brick

MODULES = brick.MODULES + ('os_brick_vmthunder.caches',)
ONE = '0b8f7c1e-5a1d-4a52-9f0e-000000000001'
TWO = '0b8f7c1e-5a1d-4a52-9f0e-000000000002'
# bcache writes its index half a minute after it changed
INDEX_SECONDS = 35

_STATE = '/var/lib/vmthunder-test'
_FILE = f'{_STATE}/source'
_FOREIGN = f'{_STATE}/foreign'
_DISK = f'{_STATE}/disk'
_DEVICE = '/dev/mapper/test-cache'
_MIB = 1 << 20
_STEP = 64 << 10


def _layer(name, **settings):
    brick._prepared()
    return caches.create(conf.HostConfig(
        cache=name, cache_file=f'{_STATE}/cache.img', state_dir=_STATE,
        cache_size=32 << 30, **settings))


def make_source(size, name='source'):
    """Return a read-only device, the same at every call, and its SHA-256."""
    os.makedirs(_STATE, exist_ok=True)
    path = f'{_STATE}/{name}'
    if not os.path.exists(path):
        pathlib.Path(path).write_bytes(random.Random(name).randbytes(
            size + _MIB))
    device = loop.find(path)
    if device is None:
        device = subprocess.run(
            ['losetup', '--find', '--show', '--read-only', path],
            check=True, capture_output=True, text=True).stdout.strip()
    with open(path, 'rb') as file:
        return device, hashlib.sha256(file.read(size)).hexdigest()


def promises(layer):
    return caches.layer(layer).PROMISES


def refusal(layer):
    """Return what a layer says that can't work here."""
    try:
        _layer(layer).verify()
    except exception.ConfigurationError as error:
        return str(error)
    return ''


def make_device():
    """Return a device for a cache that can be made to fail."""
    return _work_by(f'linear {_disk(2 << 30)} 0', 'create')


def make_slow_device(size, milliseconds):
    """Return a device for a cache to which each write takes so long."""
    disk = _disk(size)
    return _work_by(f'delay {disk} 0 0 {disk} 0 {milliseconds}', 'create')


def fail_device():
    """Have that device fail all requests from now on."""
    _work_by('error')


def remove_device(layer):
    """Repair that device, and remove all that is on it, and it."""
    _work_by(f'linear {loop.find(_DISK)} 0')
    _layer(layer, cache_device=_DEVICE).clear()
    subprocess.run(['dmsetup', 'remove', '--retry', _DEVICE], check=True)
    loop.detach(_DISK)
    os.unlink(_DISK)


def _disk(size):
    os.makedirs(_STATE, exist_ok=True)
    with open(_DISK, 'wb') as file:
        file.truncate(size)
    return loop.attach(_DISK)


def _work_by(target, action='load'):
    name = os.path.basename(_DEVICE)
    table = f'0 {os.path.getsize(_DISK) // 512} {target}'
    for command in ([action, name, '--table', table],
                    ['suspend', '--noflush', '--nolockfs', name],
                    ['resume', name]):
        subprocess.run(['dmsetup', *command], check=True)
    return _DEVICE


def attach(layer, template_id, source, size, device=''):
    cache = _layer(layer, cache_device=device)
    cache.verify()
    path = cache.attach(template_id, source, size)
    assert path == cache.device(template_id)
    return path


def detach(layer, template_id):
    _layer(layer).detach(template_id)


def settle(layer, template_id):
    _layer(layer).settle(template_id)


def forget(layer, template_id):
    cache = _layer(layer)
    cache.forget(template_id)
    assert template_id not in cache.templates()


def clear(layer):
    _layer(layer).clear()


def detach_while_open(layer, path):
    """Return the name of the error."""
    with open(path, 'rb'):
        try:
            detach(layer, ONE)
        except exception.VMThunderException as error:
            return type(error).__name__
    return ''


def refuses_writes(path):
    try:
        file = os.open(path, os.O_RDWR | os.O_SYNC)
    except OSError:
        return True
    try:
        os.pwrite(file, bytes(4096), 0)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def size(path):
    return sysfs.size(path)


def fetched(source):
    """Return how many bytes of a source were read since it was made."""
    return sysfs.read_bytes(sysfs.kernel_name(source))


def checksum(path):
    """Return a device's SHA-256, read in large requests past the cache."""
    digest = hashlib.sha256()
    with _direct(path) as (file, buffer):
        left, offset = sysfs.size(path), 0
        while left:
            count = os.preadv(
                file, [memoryview(buffer)[:min(_MIB, left)]], offset)
            digest.update(memoryview(buffer)[:count])
            left -= count
            offset += count
    return digest.hexdigest()


def read_often(path, source):
    """Read a device again and again until a policy keeps what it will.

    :returns: how many bytes of the source the last time took.
    """
    last = 0
    for _time in range(6):
        time.sleep(1.5)  # dm-cache's policy looks once a second
        drop_page_cache()
        before = fetched(source)
        checksum(path)
        last = fetched(source) - before
    return last


def drop_page_cache():
    """Leave what was read to the layers: the kernel keeps it in memory, too.
    """
    pathlib.Path('/proc/sys/vm/drop_caches').write_text('3')


def read_as_guest(path):
    """Read here and there, the same at every call, as a guest that boots."""
    choice = random.Random(7)
    end = sysfs.size(path)
    with _direct(path) as (file, buffer):
        for sectors in (1, 2, 63):  # boot sector and boot loader
            os.preadv(file, [memoryview(buffer)[:sectors * 512]],
                      sectors * 512)
        for _time in range(600):
            length = choice.randint(1, 32) * 4096
            offset = choice.randrange((end - length) // 4096) * 4096
            os.preadv(file, [memoryview(buffer)[:length]], offset)


def read_in_step(path, readers):
    """Read a device by several readers who ask for the same at once."""
    size = sysfs.size(path)
    ready = threading.Barrier(readers)

    def read():
        with _direct(path) as (file, buffer):
            for offset in range(0, size - _STEP, _STEP):
                ready.wait()
                os.preadv(file, [memoryview(buffer)[:_STEP]], offset)

    with futures.ThreadPoolExecutor(readers) as pool:
        for reader in [pool.submit(read) for _reader in range(readers)]:
            reader.result()


@contextlib.contextmanager
def _direct(path):
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, _MIB) as buffer:
            yield file, buffer
    finally:
        os.close(file)


def try_foreign_device():
    """Name a device with a file system as cache; return the message."""
    with open(_FOREIGN, 'wb') as file:
        file.truncate(2 << 30)
    subprocess.run(['mkfs.ext4', '-q', _FOREIGN], check=True)
    device = loop.attach(_FOREIGN)
    try:
        layer = _layer('bcache', cache_device=device)
        for call in layer.verify, lambda: layer.attach(
                ONE, loop.find(_FILE), _MIB):
            try:
                call()
            except exception.ConfigurationError as error:
                message = str(error)
            else:
                return ''
        subprocess.run(['fsck.ext4', '-n', '-f', device], check=True,
                       capture_output=True)
        return message
    finally:
        loop.detach(_FOREIGN)
        os.unlink(_FOREIGN)


def leftovers(cleared=False):
    """Return what is there besides the sources, and the set if not cleared.
    """
    left = glob.glob('/sys/block/dm-*') + glob.glob('/sys/block/bcache*')
    keep = [_FILE, f'{_FILE}-two']
    if not cleared:
        keep.append(f'{_STATE}/cache.img')
    left += [path for path in map(
        sysfs.read, glob.glob('/sys/block/loop*/loop/backing_file'))
        if path not in keep]
    if cleared:
        left += glob.glob('/sys/fs/bcache/*-*')
        left += [path for path in glob.glob(f'{_STATE}/**/*', recursive=True)
                 if os.path.isfile(path) and path not in keep]
    return left


def remove_everything(layer):
    cache = _layer(layer)
    for template_id in ONE, TWO:
        cache.detach(template_id)
    cache.clear()
    for path in _FILE, f'{_FILE}-two':
        loop.detach(path)
