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

"""What the kernel keeps in memory of a snapshot, by the size of its chunks.

For each chunk that was written to, device-mapper remembers where it is. The
smaller the chunks, the more of them; the larger, the more is copied by a
first write. All of it is read again when the volume is attached anew. Other
sizes are told beside the default.

The stores are written here, as the kernel would have: see
drivers/md/dm-snap-persistent.c.
"""

import array
import contextlib
import json
import os
import pathlib
import random
import struct
import subprocess
import time
from typing import Iterator

from os_brick_vmthunder import exceptionstore
from tests.bench import results
from tests.bench import rig as rigs

MIB = 1 << 20
GIB = 1 << 30
#: Of the volume, all of which was written to.
_SIZE = 4 * GIB
_NAME = 'bench-snapshot'
_FILE = pathlib.Path('/var/tmp/bench-store')
#: Sectors; the first is the default of the option vmthunder_chunk_size.
_CHUNKS = (32, 16, 64, 128)
_WRITES = 2000
_EXCEPTION = 16
# a magic number, valid, the format's version; then the chunk's sectors
_HEADER = struct.Struct('<IIII')
_TIMEOUT = 600


def run(rounds: int) -> list[results.Figure]:
    """Measure each size of chunk, beside the default's."""
    rig = rigs.get()
    rig.host.preload('tests.bench.memory')
    found = {chunk: _measure(rig, chunk, rounds) for chunk in _CHUNKS}
    default, *_others = found.values()
    return [results.Figure(
        f'chunks of {chunk // 2} KiB: {title}', unit, samples,
        default[title, unit] if chunk != _CHUNKS[0] else ())
        for chunk, figures in found.items()
        for (title, unit), samples in figures.items()]


def _measure(rig: rigs.Rig, chunk: int, rounds: int
             ) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return the samples of a size of chunks, by what they are and units."""
    scattered, ordered = (
        [rig.host.call(load_here, chunk, order, timeout=_TIMEOUT)
         for _number in range(rounds)] for order in (False, True))
    return {
        ('memory, a GiB written at random', 'MiB'):
            tuple(mib for mib, _seconds in scattered),
        ('memory, a GiB written in order', 'MiB'):
            tuple(mib for mib, _seconds in ordered),
        ('read again, a GiB at random', 's'):
            tuple(seconds for _mib, seconds in scattered),
        ('first writes of 4 KiB', 'IOPS'):
            tuple(rig.host.call(write_here, chunk, timeout=_TIMEOUT)
                  for _number in range(rounds))}


def load_here(chunk: int, ordered: bool) -> tuple[float, float]:
    """Have the kernel load the store of a volume that is written all over.

    :param chunk: sectors.
    :param ordered: it was written from its beginning to its end.
    :returns: MiB that the kernel took, and seconds, for a GiB.
    """
    with _store(chunk) as device:
        with open(_FILE, 'r+b') as file:
            _fill(file.fileno(), chunk * 512, ordered)
        before, start = _kernel_memory(), time.monotonic()
        with _snapshot(device, chunk):
            seconds = time.monotonic() - start
            used = _kernel_memory() - before
    share = GIB / _SIZE
    return used * share / MIB, seconds * share


def write_here(chunk: int) -> float:
    """Return how many first writes a snapshot takes in a second.

    What is copied reads as zeroes, which costs nothing.

    :param chunk: sectors; no two writes are in the same.
    """
    with _store(chunk) as device, _snapshot(device, chunk):
        output = _run(
            'fio', '--name=bench', f'--filename=/dev/mapper/{_NAME}',
            '--rw=randwrite', '--bs=4k', f'--blockalign={chunk * 512}',
            f'--number_ios={_WRITES}', '--direct=1', '--ioengine=libaio',
            '--iodepth=16', '--output-format=json')
    return float(json.loads(output)['jobs'][0]['write']['iops'])


@contextlib.contextmanager
def _store(chunk: int) -> Iterator[str]:
    """Have a device that can be a snapshot's store."""
    with open(_FILE, 'xb') as file:
        file.truncate(exceptionstore.store_size(_SIZE, chunk * 512))
    device = _run('losetup', '-f', '--show', str(_FILE)).strip()
    try:
        yield device
    finally:
        _run('losetup', '-d', device)
        _FILE.unlink()


@contextlib.contextmanager
def _snapshot(device: str, chunk: int) -> Iterator[None]:
    """Have a snapshot of zeroes by a store."""
    sectors = _SIZE // 512
    origin = f'{_NAME}-origin'
    _run('dmsetup', 'create', origin, '--table', f'0 {sectors} zero')
    try:
        _run('dmsetup', 'create', _NAME, '--table',
             f'0 {sectors} snapshot /dev/mapper/{origin} {device} P {chunk}')
        try:
            yield
        finally:
            _run('dmsetup', 'remove', '--retry', _NAME)
    finally:
        _run('dmsetup', 'remove', '--retry', origin)


def _fill(file: int, size: int, ordered: bool) -> None:
    """Write to a store what the kernel would when all is written to.

    :param size: of a chunk, in bytes.
    """
    os.pwrite(file, _HEADER.pack(0x70416e53, 1, 1, size // 512), 0)
    chunks = list(range(_SIZE // size))
    if not ordered:
        random.Random(0).shuffle(chunks)
    each = size // _EXCEPTION
    for area, start in enumerate(range(0, len(chunks), each)):
        there = 1 + area * (each + 1)
        pairs = array.array('Q')
        for number, old in enumerate(chunks[start:start + each], 1):
            pairs.extend((old, there + number))
        os.pwrite(file, pairs.tobytes(), there * size)
    os.fsync(file)


def _kernel_memory() -> int:
    """Return the bytes that the kernel has for itself and can't give up."""
    pathlib.Path('/proc/sys/vm/drop_caches').write_text('3')
    used = 0
    for line in pathlib.Path('/proc/meminfo').read_text().splitlines():
        name, value = line.split()[:2]
        if name in ('SUnreclaim:', 'VmallocUsed:'):
            used += int(value) << 10
    return used


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True,
                          text=True).stdout
