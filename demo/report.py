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

"""The tables at the end of the demo, and what they must show."""

import dataclasses
import functools
import operator
from typing import Iterable
from typing import Iterator
from typing import Sequence

from demo import results

# Two boots of one system don't read quite the same: a part of the first's.
_NEW = 0.05


@dataclasses.dataclass(frozen=True)
class Check:
    """Something that must hold, and what speaks against it."""

    claim: str
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.problems


def tables(outcome: results.Outcome) -> str:
    """Everything measured, as text."""
    return '\n\n'.join(('\n'.join(_volumes(outcome)),
                        '\n'.join(_hosts(outcome)),
                        '\n'.join(_diaries(outcome))))


def checks(outcome: results.Outcome) -> list[Check]:
    """All that a run must show."""
    return [Check(claim, tuple(find(outcome))) for claim, find in (
        ("every VM booted from its volume and found its files intact",
         _damaged),
        ("every VM's disk has that VM's own diary, and nobody else's",
         _wrong_diaries),
        ("the first VM on a host read its template over the network",
         _unread),
        ("the next VMs on a host read no template bytes again", _reread),
        (f'and at most {_NEW:.0%} of what the first VM read was new to them',
         _much_new),
        ("after the last detach nothing is left on any host",
         lambda outcome: iter(outcome.leftovers)))]


def size(count: int) -> str:
    """A number of bytes, to be read by people."""
    value, units = float(count), ['B', 'KiB', 'MiB', 'GiB']
    while abs(value) >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f'{value:.0f} B' if units[0] == 'B' else f'{value:.1f} {units[0]}'


def _volumes(outcome: results.Outcome) -> list[str]:
    rows = [('', '', '', '', '', 'template bytes', 'at boot:', 'from the',
             'network'),
            ('volume', 'create', 'on host', 'attach', 'boot', 'at attach',
             'from cache', 'new', 'again')]
    for volume, seconds in outcome.create_seconds.items():
        first = (volume, f'{seconds:.1f} s')
        for stay in outcome.stays:
            if stay.volume == volume:
                reading = stay.boot_reading
                rows.append((
                    *first, stay.host, f'{stay.attach_seconds:.1f} s',
                    f'{stay.boot.seconds:.1f} s',
                    size(stay.attach_reading.template_bytes),
                    size(reading.hit_bytes), size(reading.new_bytes),
                    size(reading.again_bytes)))
                first = ('', '')
    return _grid(rows, '<><>>>>>>')


def _hosts(outcome: results.Outcome) -> list[str]:
    rows = [('host', 'VMs', 'template bytes read', 'cache hits',
             'cache misses')]
    for host in _names(outcome):
        stays = _on(outcome, host)
        attaching = _total(stay.attach_reading for stay in stays)
        booting = _total(stay.boot_reading for stay in stays)
        rows.append((host, str(len(stays)),
                     size(attaching.template_bytes + booting.template_bytes),
                     size(booting.hit_bytes), size(booting.template_bytes)))
    return _grid(rows, '<>>>>')


def _diaries(outcome: results.Outcome) -> list[str]:
    rows = [('volume', 'its diary at the end')]
    for volume in outcome.create_seconds:
        last = [stay for stay in outcome.stays if stay.volume == volume][-1]
        rows.append((volume, '; '.join(last.boot.diary)))
    return _grid(rows, '<<')


def _damaged(outcome: results.Outcome) -> Iterator[str]:
    for stay in outcome.stays:
        if not stay.boot.intact:
            yield f'{stay.vm} found damaged files'


def _wrong_diaries(outcome: results.Outcome) -> Iterator[str]:
    expected: dict[str, tuple[str, ...]] = {}
    for stay in outcome.stays:
        before = expected.get(stay.volume, ())
        now = before + (f'boot by {stay.vm} {len(before) + 1}',)
        expected[stay.volume] = now
        if stay.boot.diary != now:
            yield (f'the diary of {stay.vm} says '
                   f'"{"; ".join(stay.boot.diary)}", not "{"; ".join(now)}"')


def _unread(outcome: results.Outcome) -> Iterator[str]:
    for host in _names(outcome):
        first = _on(outcome, host)[0]
        if not first.boot_reading.template_bytes:
            yield f'{first.vm} read nothing: the count must be wrong'


def _reread(outcome: results.Outcome) -> Iterator[str]:
    for host in _names(outcome):
        for stay in _on(outcome, host)[1:]:
            # Less than none: the two ways to count contradict each other.
            if stay.boot_reading.again_bytes:
                yield (f'{stay.vm} read '
                       f'{size(stay.boot_reading.again_bytes)}')


def _much_new(outcome: results.Outcome) -> Iterator[str]:
    for host in _names(outcome):
        first, *others = _on(outcome, host)
        limit = first.boot_reading.new_bytes * _NEW
        for stay in others:
            if stay.boot_reading.new_bytes > limit:
                yield (f'{stay.vm} read {size(stay.boot_reading.new_bytes)}, '
                       f'{first.vm} {size(first.boot_reading.new_bytes)}')


def _names(outcome: results.Outcome) -> list[str]:
    return sorted({stay.host for stay in outcome.stays})


def _total(readings: Iterable[results.Reading]) -> results.Reading:
    return functools.reduce(operator.add, readings)


def _on(outcome: results.Outcome, host: str) -> list[results.Stay]:
    return [stay for stay in outcome.stays if stay.host == host]


def _grid(rows: Sequence[Sequence[str]], alignment: str) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ['   '.join(f'{cell:{side}{width}}' for cell, side, width
                       in zip(row, alignment, widths)).rstrip()
            for row in rows]
