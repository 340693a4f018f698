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

"""Steady random I/O of a volume, beside that of a plain iSCSI LUN.

Steady is what comes after the beginning: the host's cache has the template,
and what is written to was written before, so that it was copied already.
Both have the same two portals, maps and kind of store on the other side. A
layer that does nothing over the plain LUN shows what part of the difference
any layer makes in such a kernel.
"""

import contextlib
import json
import subprocess
from typing import Any, Iterator

from os_brick_vmthunder import connection
from os_brick_vmthunder import sysfs
from tests.bench import results
from tests.bench import rig as rigs

MIB = 1 << 20
#: Of the volume and of its template. The first half is written to.
_SIZE = 64 * MIB
_HALF = _SIZE // 2
_SECONDS = 5
_DEPTH = 16
_TIMEOUT = 300
_BLOCKS = (4, 16)
_GOAL = results.at_least(0.9)
_BARE = 'bench-bare'

#: What is read and written: where, by which pattern of fio.
_STEADY = (('read what was written', 'randread', 0),
           ('read the template', 'randread', _HALF),
           ('write', 'randwrite', 0))


def run(rounds: int) -> list[results.Figure]:
    """Measure a volume and a LUN by turns."""
    rig = rigs.get()
    rig.host.preload('tests.bench.io')
    with contextlib.ExitStack() as stack:
        template = stack.enter_context(rig.template(_SIZE))
        volume = stack.enter_context(rig.volume(template, _SIZE))
        plain = stack.enter_context(rig.plain(_SIZE))
        stack.enter_context(rig.attached('vmthunder', volume))
        stack.enter_context(rig.attached('iscsi', plain))
        ours = f'/dev/mapper/vmthunder-{volume["volume_id"]}'
        stock = f'/dev/mapper/{connection.wwid(plain["volume_id"])}'
        figures = [_first_writes(rig, ours, stock)]
        for path in (ours, stock):
            # until the cache has all of it
            for _number in range(2):
                _fio(rig, path, 'read', 64, _HALF, whole=True)
        bare = stack.enter_context(_bare_layer(rig, stock))
        for name, pattern, offset in _STEADY:
            for block in _BLOCKS:
                figures += _steady(
                    f'{name}, {block}k', [tuple(
                        _fio(rig, path, pattern, block, offset)
                        for path in (ours, stock, bare))
                        for _number in range(rounds)])
    rig.check_clean()
    return figures


def _steady(name: str, rounds: list[tuple[float, ...]]
            ) -> list[results.Figure]:
    """Return what rounds told of the volume, the LUN and the bare layer."""
    ours, stock, bare = zip(*rounds)
    return [results.Figure(name, 'IOPS', ours, stock, _GOAL),
            results.Figure('  a bare layer does', 'IOPS', bare, stock)]


@contextlib.contextmanager
def _bare_layer(rig: rigs.Rig, path: str) -> Iterator[str]:
    """Have a device that passes on what it is asked for."""
    rig.host.run('dmsetup', 'create', _BARE, '--table',
                 f'0 {_SIZE // sysfs.SECTOR} linear {path} 0')
    try:
        yield f'/dev/mapper/{_BARE}'
    finally:
        rig.host.run('dmsetup', 'remove', '--retry', _BARE)


def _first_writes(rig: rigs.Rig, ours: str, stock: str) -> results.Figure:
    """Write all that is written to later, in random order."""
    written = [_fio(rig, path, 'randwrite', 4, 0, whole=True)
               for path in (ours, stock)]
    return results.Figure('write for the first time, 4k', 'IOPS',
                          (written[0],), (written[1],))


def _fio(rig: rigs.Rig, path: str, pattern: str, block: int, offset: int,
         whole: bool = False) -> float:
    """Return the requests per second that a device takes.

    :param block: KiB.
    :param offset: of the half that is read or written.
    :param whole: each block once, and not for some time.
    """
    return rig.host.call(fio_here, path, pattern, block, offset, whole,
                         timeout=_TIMEOUT)


def fio_here(path: str, pattern: str, block: int, offset: int,
             whole: bool) -> float:
    how = [] if whole else ['--time_based', f'--runtime={_SECONDS}',
                            '--ramp_time=1', '--norandommap',
                            '--randrepeat=0']
    output = subprocess.run(
        ['fio', '--name=bench', f'--filename={path}', f'--rw={pattern}',
         f'--bs={block}k', f'--offset={offset}', f'--size={_HALF}',
         '--direct=1', '--ioengine=libaio', f'--iodepth={_DEPTH}',
         '--output-format=json', *how],
        check=True, capture_output=True, text=True).stdout
    job: dict[str, Any] = json.loads(output)['jobs'][0]
    return job['write' if 'write' in pattern else 'read']['iops']
