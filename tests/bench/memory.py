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
first write. And what is remembered is read when the volume is attached.
"""

import json
import os
import pathlib
import subprocess
import time

from os_brick_vmthunder import exceptionstore
from tests.bench import results
from tests.bench import rig as rigs

MIB = 1 << 20
GIB = 1 << 30
_SIZE = 256 * MIB
_NAME = 'bench-snapshot'
_FILE = pathlib.Path('/var/tmp/bench-store')
#: Sectors; the first is the default of the option vmthunder_chunk_size.
_CHUNKS = (16, 32, 64, 128)
_TIMEOUT = 600


def run(rounds: int) -> list[results.Figure]:
    """Measure stores of each size of chunk once; counts don't spread."""
    rig = rigs.get()
    rig.host.preload('tests.bench.memory')
    figures = []
    for chunk in _CHUNKS:
        size = f'chunks of {chunk // 2} KiB'
        scattered, speed, seconds = rig.host.call(
            measure_here, chunk, 'randwrite', timeout=_TIMEOUT)
        dense, _speed, _seconds = rig.host.call(
            measure_here, chunk, 'write', timeout=_TIMEOUT)
        figures += [
            results.Figure(f'{size}: memory per GiB, at random', 'MiB',
                           (scattered,)),
            results.Figure(f'{size}: memory per GiB, in order', 'MiB',
                           (dense,)),
            results.Figure(f'{size}: first writes of 4k', 'IOPS', (speed,)),
            results.Figure(f'{size}: found again, per GiB', 's', (seconds,))]
    return figures


def measure_here(chunk: int, pattern: str) -> tuple[float, float, float]:
    """Write once to each chunk of a snapshot, in some order.

    :param chunk: sectors.
    :returns: MiB that the kernel took for a GiB, writes per second, and
        the seconds that it took to find a GiB again.
    """
    store = exceptionstore.store_size(_SIZE, chunk * 512)
    with open(_FILE, 'xb') as file:
        file.truncate(store)
    device = _run('losetup', '-f', '--show', str(_FILE)).strip()
    try:
        sectors = _SIZE // 512
        _run('dmsetup', 'create', f'{_NAME}-origin', '--table',
             f'0 {sectors} zero')
        table = (f'0 {sectors} snapshot /dev/mapper/{_NAME}-origin {device} '
                 f'P {chunk}')
        _run('dmsetup', 'create', _NAME, '--table', table)
        before = _kernel_memory()
        speed = _write(chunk, pattern)
        used = _kernel_memory() - before
        _run('dmsetup', 'remove', '--retry', _NAME)
        start = time.monotonic()
        _run('dmsetup', 'create', _NAME, '--table', table)
        seconds = time.monotonic() - start
        gib = GIB / _SIZE
        return used * gib / MIB, speed, seconds * gib
    finally:
        for name in (_NAME, f'{_NAME}-origin'):
            subprocess.run(['dmsetup', 'remove', '--retry', name],
                           capture_output=True)
        _run('losetup', '-d', device)
        _FILE.unlink()


def _write(chunk: int, pattern: str) -> float:
    """Write 4 KiB to each chunk; return how many of them a second."""
    output = _run(
        'fio', '--name=bench', f'--filename=/dev/mapper/{_NAME}',
        f'--rw={pattern}:{chunk * 512 - 4096}' if pattern == 'write'
        else f'--rw={pattern}', '--bs=4k', f'--blockalign={chunk * 512}',
        f'--io_size={_SIZE // (chunk * 512) * 4096}', '--direct=1',
        '--ioengine=libaio', '--iodepth=16', '--output-format=json')
    return json.loads(output)['jobs'][0]['write']['iops']


def _kernel_memory() -> int:
    """Return the bytes that the kernel has of small objects."""
    pathlib.Path('/proc/sys/vm/drop_caches').write_text('3')
    os.sync()
    for line in pathlib.Path('/proc/slabinfo').read_text().splitlines():
        fields = line.split()
        if fields[0] == 'dm_exception':
            return int(fields[1]) * int(fields[3])
    raise LookupError('the kernel does not tell of dm_exception')


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True,
                          text=True).stdout
