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

"""What storms were like, for people: a line, tables, and goals."""

import dataclasses
import statistics
import typing

from tests.bench.storm import contenders
from tests.bench.storm import outcome

MIB = 1 << 20
#: What is plotted against the number of hosts.
TIME, EGRESS = 'time', 'egress'

_SLOWER, _COLD, _EGRESS = 1.25, 1.05, 0.05
# So many hosts have to be done after not much longer than one.
_MANY = 32
# First VMs, the second ones beside them, at most how many times as long the
# first may take, and how to call it.
_KINDS = (
    (contenders.VMTHUNDER, contenders.SECOND, None, 'no prefetch'),
    (contenders.PREFETCH, contenders.SECOND_AHEAD, _COLD, 'prefetching'))


@dataclasses.dataclass(frozen=True)
class Goal:
    """Something that is to be at most so much.

    :ivar limit: that much; None for what is told beside.
    :ivar bound: what sets the limit where it is missed.
    """

    claim: str
    measured: float
    limit: float | None
    unit: str
    bound: str = ''

    @property
    def met(self) -> bool:
        return self.limit is None or self.measured <= self.limit

    def cells(self) -> tuple[str, ...]:
        if self.limit is None:
            return (self.claim, f'{self.measured:.4g} {self.unit}'.strip(),
                    '', 'told beside')
        result = 'met'
        if not self.met:
            over = (f'by {self.measured / self.limit - 1:.0%}' if self.limit
                    else 'as it should be 0')
            result = f'missed {over}' + (f': {self.bound}'
                                         if self.bound else '')
        return (self.claim, f'{self.measured:.4g} {self.unit}'.strip(),
                f'{self.limit:.4g} {self.unit}'.strip(), result)


def goals(run: outcome.Run) -> list[Goal]:
    """Return the goals that a run can tell something about."""
    found: list[Goal] = []
    for size in run.sizes:
        fan_out = min(run.root_fan_out, size)
        for first, second, limit, how in _KINDS:
            cold, warm = run.find(first, size), run.find(second, size)
            alone = run.find(first, 1)
            if cold and alone and size >= _MANY:
                found.append(Goal(
                    f'{size} hosts done, {how}, beside one alone',
                    cold.seconds / alone.seconds, _SLOWER, '',
                    _slowest(cold)))
            if cold:
                found.append(_egress(run, cold, how, fan_out + _EGRESS))
            if cold and warm:
                found.append(Goal(
                    f'first VM beside the second, with {size}, {how}',
                    cold.seconds / warm.seconds, limit, '',
                    _slowest(cold)))
            if warm:
                found.append(Goal(
                    f'template bytes that second VMs read over the network, '
                    f'with {size}, {how}', warm.of_templates / MIB, 0,
                    'MiB'))
        plain = run.find(contenders.CLONES, size)
        if plain:
            found.append(_egress(run, plain, 'plain iSCSI', None))
    every = [storm for storm in run.storms]
    found.append(Goal('hosts that saw a wrong byte or an error', sum(
        bool(row.wrong) for storm in every for row in storm.rows), 0, ''))
    return found


def _slowest(storm: outcome.Storm) -> str:
    """Say what the last host of a storm waited for."""
    last = max(storm.rows, key=lambda row: row.seconds)
    return (f'the last host waited {last.waited:.1f} s for its disk; '
            f'processors were {storm.busy:.0%} busy')


def _egress(run: outcome.Run, storm: outcome.Storm, how: str,
            limit: float | None) -> Goal:
    return Goal(
        f'egress of the storage host with {storm.hosts}, {how}, in working '
        f'sets', storm.egress / run.boot.working_set, limit, '', _sent(storm))


def _sent(storm: outcome.Storm) -> str:
    """Say what the storage host sent."""
    idle = '' if storm.idle is None else (
        f', with nobody reading it would have sent '
        f'{storm.idle * (storm.counted or storm.seconds) / MIB:.1f} MiB in '
        f'that time')
    return (f'{storm.from_root / MIB:.1f} MiB were read of its disks{idle}, '
            f'the rest is what protocols add')


def line(storm: outcome.Storm) -> str:
    """Return a storm as a line."""
    return '  '.join(_cells(storm))


def text(run: outcome.Run) -> str:
    """Return tables of a run."""
    return '\n'.join([
        *description(run), '', *_table(_HEAD, [
            _cells(storm) for storm in _sorted(run)]), '',
        *_table(_GOALS, [goal.cells() for goal in goals(run)])])


def plots(run: outcome.Run) -> list[tuple[int | str, str]]:
    """Return what is plotted of a run, and how it is called.

    That is 'time' and 'egress', where there are several sizes, and for each
    size the progress of so many hosts.
    """
    found: list[tuple[int | str, str]] = [
        (size, f'What each of {size} guests has read, over time')
        for size in run.sizes]
    if len(run.sizes) > 1:
        found[:0] = [(TIME, 'Time until all hosts have booted'),
                     (EGRESS, 'What the storage host sent meanwhile')]
    return found


def plot(name: str, what: int | str) -> str:
    """Return the name of the file of a plot.

    :param name: of the run.
    :param what: one of :func:`plots`.
    """
    return f'{name}-{what}.svg'


def rst(run: outcome.Run, name: str) -> str:
    """Return the same, and the plots, as a part of the documentation.

    :param name: of the run.
    """
    parts = ['.. Written by python -m tests.bench storm; do not change.', '',
             *(f'* {each}' for each in description(run)), '']
    for title, head, rows in (
            ('What was measured', _HEAD, [_cells(storm)
                                          for storm in _sorted(run)]),
            ('Goals', _GOALS, [goal.cells() for goal in goals(run)])):
        parts += [f'.. list-table:: {title}', '   :header-rows: 1', '']
        for row in (head, *rows):
            for number, cell in enumerate(row):
                parts.append(f'   {"*" if not number else " "} - {cell}')
        parts.append('')
    for what, title in plots(run):
        parts += [f'.. figure:: images/{plot(name, what)}', '',
                  f'   {title}.', '']
    return '\n'.join(parts)


def description(run: outcome.Run) -> list[str]:
    """Say what was replayed on what, and what is scaled."""
    boot, scale = run.boot, run.scale
    kept = ('all of its requests' if scale.share == 1 else
            f'one of {scale.share} of its requests')
    return [
        f'Measured {run.date} on {run.machine}.',
        f'The boot: {boot.guest}; {boot.recorded:.1f} s of computing. '
        f'{kept.capitalize()} are replayed: {boot.requests}, which read '
        f'{boot.working_set / MIB:.1f} MiB of different bytes.',
        f'Scaled: each link, that of the storage host too, has '
        f'{scale.link_mbit:g} Mbit/s each way, and the guest computes '
        f'{scale.pauses:g} times as long as when it was recorded. That is as '
        f'with 1 Gbit/s and a guest that takes '
        f'{boot.recorded * scale.pauses * scale.link_mbit / 1000:.1f} s, '
        f'{scale.slowness:g} times as slow.',
        f'A host has at least {scale.memory} MiB of memory and a cache of '
        f'{scale.cache} GiB. Volumes are made and '
        f'attached before a storm; its time is that of booting alone.',
        *([f'Hosts that prefetch begin {scale.ahead:g} s of real hosts, '
           f'{scale.ahead * scale.slowness:g} s here, before their guests.']
          if any(storm.contender == contenders.PREFETCH
                 for storm in run.storms) else []),
        f'{run.root_fan_out} hosts read a template from the storage host '
        f'itself.']


_HEAD = ('hosts', 'disks', 'all done', 'median', 'waiting for disk',
         'root sent', 'of its disks', 'of relays', 'volume made',
         'attached', 'processors')
_GOALS = ('goal', 'measured', 'at most', 'result')


def _sorted(run: outcome.Run) -> list[outcome.Storm]:
    order = list(contenders.TITLES)
    return sorted(run.storms, key=lambda storm: (
        storm.hosts, order.index(storm.contender)))


def _cells(storm: outcome.Storm) -> tuple[str, ...]:
    rows = storm.rows
    relayed = sum(row.relayed for row in rows)
    return (str(storm.hosts), contenders.TITLES[storm.contender],
            f'{storm.seconds:.1f} s',
            f'{statistics.median(row.seconds for row in rows):.1f} s',
            f'{statistics.median(row.waited for row in rows):.1f} s',
            f'{storm.egress / MIB:.1f} MiB',
            f'{storm.from_root / MIB:.1f} MiB', f'{relayed / MIB:.1f} MiB',
            f'{storm.made:.1f} s', f'{storm.attached:.1f} s',
            f'{storm.busy:.0%}')


def _table(head: typing.Sequence[str],
           rows: typing.Sequence[typing.Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    return ['  '.join(cell.ljust(width) for cell, width in
                      zip(row, widths)).rstrip() for row in (head, *rows)]
