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

"""What the model test does on lab hosts; all runs there.

Reads and writes go past the page cache, as a hypervisor's do.
"""

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import pathlib
import random
import struct
import subprocess
from typing import Any, Iterator, Sequence

from os_brick_vmthunder import connection
from tests.functional import compute
from tests.functional import initiator
from tests.functional import modelcontent
from tests.lab import brick

_SECTOR = modelcontent.SECTOR
_BLOCK = 4 << 20  # what a device is read by
_ALIGNMENT = 4096
_BLKSSZGET = 0x1268
_ZEROES = bytes(_BLOCK)
#: How far around what was written, and in how many other places, a check
#: looks.
_MARGIN = 20
_PLACES = 6

MODULES = (*brick.MODULES, 'tests.functional.modelhosts')

Data = dict[str, Any]
#: A device, and what it is to hold.
Expected = tuple[str, modelcontent.Content]


class Device:
    """A block device, read and written past the page cache.

    What isn't a multiple of its blocks is written through the page cache.
    """

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self._file = os.open(path, mode | os.O_DIRECT | os.O_DSYNC)
        self.size = os.lseek(self._file, 0, os.SEEK_END)
        self._buffer = mmap.mmap(-1, _BLOCK + 2 * _ALIGNMENT)

    def close(self) -> None:
        self._buffer.close()
        os.close(self._file)

    def read(self, first: int, count: int) -> bytes:
        """Read sectors, up to as many as a block has."""
        with self._loaded(first, count) as view:
            return bytes(view)

    def is_zero(self, first: int, count: int) -> bool:
        """Whether sectors are zeroes, up to as many as a block has.

        Nothing is allocated: in a lab host that takes much longer than to
        read.
        """
        with self._loaded(first, count) as view, \
                memoryview(_ZEROES)[:len(view)] as zeroes:
            return view.cast('Q') == zeroes.cast('Q')

    @contextlib.contextmanager
    def _loaded(self, first: int, count: int) -> Iterator[memoryview]:
        start, end = first * _SECTOR, (first + count) * _SECTOR
        aligned = start // _ALIGNMENT * _ALIGNMENT
        length = -(-end // _ALIGNMENT) * _ALIGNMENT - aligned
        with memoryview(self._buffer)[:length] as view:
            done = os.preadv(self._file, [view], aligned)
            if done < end - aligned:
                raise EOFError(f'{self.path} ends at {aligned + done}')
            with view[start - aligned:end - aligned] as part:
                yield part

    def write(self, run: modelcontent.Run) -> None:
        offset, length = run.first * _SECTOR, run.count * _SECTOR
        if (offset | length) % self._block_size():
            self._write_through_cache(offset, run.data)
            return
        with memoryview(self._buffer)[:length] as view:
            view[:] = run.data
            assert os.pwritev(self._file, [view], offset) == length

    def _block_size(self) -> int:
        found = fcntl.ioctl(self._file, _BLKSSZGET, bytes(4))
        return int(struct.unpack('=i', found)[0])

    def _write_through_cache(self, offset: int, data: bytes) -> None:
        file = os.open(self.path, os.O_WRONLY | os.O_DSYNC)
        try:
            assert os.pwrite(file, data, offset) == len(data)
        finally:
            os.close(file)


def opened(path: str, mode: int = os.O_RDONLY
           ) -> contextlib.closing[Device]:
    return contextlib.closing(Device(path, mode))


# Images

def add_image(directory: pathlib.Path, image_id: str, kind: str,
              content: modelcontent.Content) -> None:
    """Put an image into what :mod:`.volumes` has for Glance."""
    raw, path = directory / f'{image_id}.raw', directory / image_id
    with open(raw, 'wb') as file:
        file.truncate(content.size)
        for run in content.runs:
            file.seek(run.first * _SECTOR)
            file.write(run.data)
    if kind == 'raw':
        raw.rename(path)
    else:
        subprocess.run(['qemu-img', 'convert', '-O', kind, raw, path],
                       check=True)
        raw.unlink()
    (directory / f'{image_id}.json').write_text(json.dumps({
        'id': image_id, 'disk_format': kind, 'container_format': 'bare',
        'size': path.stat().st_size, 'properties': {},
        'os_hash_algo': 'sha256',
        'os_hash_value': hashlib.sha256(repr(content).encode()).hexdigest()}))


# Compute hosts

def connector(host: str) -> Data:
    """Return what Cinder has to know of this host."""
    return {'host': host, 'initiator': initiator.name(),
            'vmthunder': {'version': connection.VERSION}}


def connect(info: Data) -> str:
    """Attach a volume, as VMThunder's or as a plain iSCSI disk."""
    data = info['data']
    if info['driver_volume_type'] == connection.PROTOCOL:
        return compute.connect(data)
    return initiator.login(data['target_portal'], data['target_iqn'],
                           data['auth_username'], data['auth_password'])


def disconnect(info: Data) -> None:
    if info['driver_volume_type'] == connection.PROTOCOL:
        compute.disconnect(info['data'])
    else:
        initiator.logout(info['data']['target_iqn'])


def extended(info: Data, path: str) -> None:
    """See a volume's new size."""
    if info['driver_volume_type'] == connection.PROTOCOL:
        brick.extend(connection.PROTOCOL, info['data'], True)
    else:
        disk = os.path.basename(path)
        pathlib.Path(f'/sys/block/{disk}/device/rescan').write_text('1')


def write(runs: Sequence[tuple[str, modelcontent.Run]]) -> None:
    """Write to devices, in this order."""
    for path, run in runs:
        with opened(path, os.O_RDWR) as device:
            device.write(run)


def check(volumes: Sequence[Expected], seed: int) -> list[str]:
    """Compare devices with what they are to hold, where it matters.

    That is where something was written, around it, at both ends, and in a
    few places besides.

    :returns: what is wrong.
    """
    return [wrong for path, content in volumes
            for wrong in _check(path, content, seed)]


def _check(path: str, content: modelcontent.Content,
           seed: int) -> Iterator[str]:
    with opened(path) as device:
        if device.size != content.size:
            yield f'{path} has {device.size} bytes instead of {content.size}'
            return
        for first, count in _places(content, seed):
            wrong = content.compare(first, device.read(first, count))
            if wrong:
                yield f'{path}: {wrong}'


def _places(content: modelcontent.Content,
            seed: int) -> Iterator[modelcontent.Range]:
    places = [(0, _MARGIN), (content.sectors - _MARGIN, _MARGIN)]
    places += [(run.first - _MARGIN, run.count + 2 * _MARGIN)
               for run in content.runs]
    chance = random.Random(seed)
    places += [(chance.randrange(content.sectors), _MARGIN)
               for _ in range(_PLACES)]
    clipped = [(max(0, first), min(first + count, content.sectors))
               for first, count in places]
    for first, count in modelcontent.merged(
            (first, end - first) for first, end in clipped):
        yield from _pieces(first, count)


def _pieces(first: int, count: int) -> Iterator[modelcontent.Range]:
    most = _BLOCK // _SECTOR
    for start in range(first, first + count, most):
        yield start, min(most, first + count - start)


def check_all(path: str, content: modelcontent.Content) -> list[str]:
    """Compare all of a device; it may go on, with zeroes."""
    with opened(path) as device:
        if device.size < content.size:
            return [f'{path} has {device.size} bytes, not {content.size}']
        content = content.resized(device.size)
        for first, count in _pieces(0, content.sectors):
            if (any(content.within(first, count)) or
                    not device.is_zero(first, count)):
                wrong = content.compare(first, device.read(first, count))
                if wrong:
                    return [f'{path}: {wrong}']
    return []
