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

"""Which parts of a template a host fetched; this runs in the host.

device-mapper counts what is read of the template's multipath map, below the
cache, separately for each area of it. An area is as small as what is read at
once: boot loaders read single sectors, all near the front of the disk, and
kernels file systems in blocks of 4 KiB. An area takes 230 bytes of kernel
memory and some microseconds to look at.

How often an area was read can't be told from that: a request that finds the
disks busy is counted each time the map tries it. How much was read in all,
the kernel counts when a request is done.
"""

import pathlib
import subprocess
import time
from typing import Iterator
from typing import NamedTuple

from demo import maps
from os_brick_vmthunder import sysfs

SECTOR = 512
# In sectors: where large areas begin, and the two sizes of an area.
_FRONT = (64 << 20) // SECTOR
_SMALL, _LARGE = 1, 8
_SECTORS_READ = 2
# It takes longer to put a cache on a map that is there.
_INTERVAL = 0.05
_TRIES = 20
_BASELINE = pathlib.Path('/run/demo-baseline')


class Area(NamedTuple):
    """A part of a template, and how much of it was read over the network.

    :param start: its first sector
    :param length: in sectors
    :param sectors: read in some time, or tried to
    """

    start: int
    length: int
    sectors: int


def keep_watching() -> None:
    """Begin to count whenever the template's map appears; never return.

    Nova attaches volumes when it likes, and the map goes with the last one.
    """
    watched = None
    while True:
        found = maps.find()
        if found is not None and found != watched:
            watched = found
            _BASELINE.write_text(str(watch(found)))
        time.sleep(_INTERVAL)


def baseline() -> int:
    """Return how many bytes the map was read for before it was watched."""
    return int(_BASELINE.read_text())


def watch(template: maps.Map) -> int:
    """Begin to count; once in the life of a map.

    The kernel looks for partitions on the cached template, which may be just
    now. Nobody could tell whether such reads were counted.

    :returns: what it was read for until then, in bytes.
    :raises RuntimeError: it is read all the time.
    """
    front = min(template.sectors, _FRONT)
    for _try in range(_TRIES):
        before = sysfs.read_bytes(template.kernel)
        _message(template, '@stats_create', f'0+{front}', _SMALL)
        if template.sectors > front:
            _message(template, '@stats_create',
                     f'{front}+{template.sectors - front}', _LARGE)
        if sysfs.read_bytes(template.kernel) == before:
            return before
        for region in _regions(template):
            _message(template, '@stats_delete', region)
    raise RuntimeError(f'{template.name} is read all the time')


def take(template: maps.Map) -> list[Area]:
    """Return all that was read since the last call, and count anew."""
    return [area for region in _regions(template) for area in parse(
        _message(template, '@stats_print_clear', region))]


def parse(text: str) -> Iterator[Area]:
    """Find the areas that were read in what the kernel printed."""
    for line in text.splitlines():
        place, _, counters = line.partition(' ')
        if not counters.startswith('0 '):
            start, _, length = place.partition('+')
            yield Area(int(start), int(length),
                       int(counters.split()[_SECTORS_READ]))


def _regions(template: maps.Map) -> list[str]:
    return [line.partition(':')[0] for line in
            _message(template, '@stats_list').splitlines()]


def _message(template: maps.Map, *words: object) -> str:
    return subprocess.run(
        ('dmsetup', 'message', template.name, '0', *map(str, words)),
        check=True, text=True, stdout=subprocess.PIPE).stdout
