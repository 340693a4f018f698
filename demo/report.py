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
    return '\n\n'.join(('\n'.join(_servers(outcome)),
                        '\n'.join(_hosts(outcome))))


def checks(outcome: results.Outcome) -> list[Check]:
    """All that a run must show."""
    return [Check(claim, tuple(find(outcome))) for claim, find in (
        ('every server booted on both hosts and found its files intact',
         _damaged),
        ("every disk has its server's own diary, and nobody else's",
         _wrong_diaries),
        ('and the random data that this server once wrote, also on the other '
         'host', _wrong_marks),
        ('the image was imported once', _imports),
        ('the first server on a host read its template over the network',
         _unread),
        ('no host read any block of the template twice over the network',
         _reread),
        (f'at most {_NEW:.0%} of what the first server read was new to the '
         f'next ones', _much_new),
        ('when all servers are deleted, nothing is left on hosts and backend',
         lambda outcome: iter(outcome.leftovers)))]


def size(count: int) -> str:
    """A number of bytes, to be read by people."""
    value, units = float(count), ['B', 'KiB', 'MiB', 'GiB']
    while abs(value) >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f'{value:.0f} B' if units[0] == 'B' else f'{value:.1f} {units[0]}'


def _servers(outcome: results.Outcome) -> list[str]:
    names = {boot.server.id: boot.server.name for boot in outcome.boots}
    rows = [('', '', 'from request', 'to its own', ''),
            ('server', 'on host', 'to ACTIVE', 'userland',
             'its diary, with names for ids')]
    for name in sorted(names.values()):
        first = name
        for boot in _of(outcome, name):
            diary = '; '.join(boot.guest.diary)
            for id, known in names.items():
                diary = diary.replace(id, known)
            rows.append((first, boot.host, f'{boot.active_seconds:.1f} s',
                         f'{boot.userland_seconds:.1f} s', diary))
            first = ''
    return _grid(rows, '<<>><')


def _hosts(outcome: results.Outcome) -> list[str]:
    rows = [('', '', 'of the template', '', 'over the', 'network'),
            ('host', 'servers', 'read', 'from cache', 'new', 'again')]
    for host in _names(outcome):
        first = host
        for turn in _on(outcome, host):
            reading = turn.reading
            rows.append((first, ', '.join(turn.servers),
                         size(reading.cache_bytes), size(reading.hit_bytes),
                         size(reading.new_bytes), size(reading.again_bytes)))
            first = ''
    return _grid(rows, '<<>>>>')


def _damaged(outcome: results.Outcome) -> Iterator[str]:
    for boot in outcome.boots:
        if not boot.guest.intact:
            yield f'{_where(boot)} found damaged files'
    hosts = set(_names(outcome))
    for name in sorted({boot.server.name for boot in outcome.boots}):
        missing = hosts - {boot.host for boot in _of(outcome, name)}
        for host in sorted(missing):
            yield f'{name} never booted on {host}'


def _wrong_diaries(outcome: results.Outcome) -> Iterator[str]:
    for name in sorted({boot.server.name for boot in outcome.boots}):
        expected: tuple[str, ...] = ()
        for boot in _of(outcome, name):
            expected += f'boot by {boot.server.id} {len(expected) + 1}',
            if boot.guest.diary != expected:
                yield (f'the diary of {_where(boot)} says '
                       f'"{"; ".join(boot.guest.diary)}", not '
                       f'"{"; ".join(expected)}"')


def _wrong_marks(outcome: results.Outcome) -> Iterator[str]:
    owners: dict[str, str] = {}
    for name in sorted({boot.server.name for boot in outcome.boots}):
        first, *others = _of(outcome, name)
        owner = owners.setdefault(first.guest.mark, name)
        if owner != name:
            yield f'{name} has the same as {owner}'
        for boot in others:
            if boot.guest.mark != first.guest.mark:
                yield f'{_where(boot)} has not what it wrote before'
    for boot in outcome.boots:
        if not boot.guest.healthy or not boot.guest.mark:
            yield f'{_where(boot)} found its data damaged'


def _imports(outcome: results.Outcome) -> Iterator[str]:
    if outcome.imports != 1:
        yield f'it was imported {outcome.imports} times'


def _unread(outcome: results.Outcome) -> Iterator[str]:
    for host in _names(outcome):
        first = _on(outcome, host)[0]
        if not first.reading.template_bytes:
            yield f'{_who(first)} read nothing: the count must be wrong'


def _reread(outcome: results.Outcome) -> Iterator[str]:
    for turn in outcome.turns:
        # Less than none: the two ways to count contradict each other.
        if turn.reading.again_bytes:
            yield f'{_who(turn)} read {size(turn.reading.again_bytes)} again'


def _much_new(outcome: results.Outcome) -> Iterator[str]:
    for host in _names(outcome):
        first, *others = _on(outcome, host)
        for turn in others:
            if turn.reading.new_bytes > first.reading.new_bytes * _NEW:
                yield (f'{_who(turn)} read {size(turn.reading.new_bytes)}, '
                       f'{_who(first)} {size(first.reading.new_bytes)}')


def _names(outcome: results.Outcome) -> list[str]:
    return sorted({turn.host for turn in outcome.turns})


def _where(boot: results.Boot) -> str:
    return f'{boot.server.name} on {boot.host}'


def _who(turn: results.Turn) -> str:
    return f'{" and ".join(turn.servers)} on {turn.host}'


def _of(outcome: results.Outcome, server: str) -> list[results.Boot]:
    return [boot for boot in outcome.boots if boot.server.name == server]


def _on(outcome: results.Outcome, host: str) -> list[results.Turn]:
    return [turn for turn in outcome.turns if turn.host == host]


def _grid(rows: Sequence[Sequence[str]], alignment: str) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ['   '.join(f'{cell:{side}{width}}' for cell, side, width
                       in zip(row, alignment, widths)).rstrip()
            for row in rows]
