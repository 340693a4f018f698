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

"""What a benchmark measured: ours beside stock, and the goal between them.

Every sample is kept, so that a JSON file tells how far they spread; tables
show medians.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
from typing import Any, Sequence

_TITLES = ('figure', 'ours', 'stock', 'ratio', 'goal', 'result')


def machine() -> str:
    """Return what the benchmarks run on."""
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return (f'{os.cpu_count()} processors, {memory / (1 << 30):.0f} GiB; '
            f'hosts of the lab, whose kernel is User Mode Linux')


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a ratio of ours to stock is to be.

    :ivar limit: the ratio.
    :ivar at_least: it is to be this or more, else this or less.
    """

    limit: float
    at_least: bool = False

    def missed_by(self, ratio: float) -> float:
        """Return by what share of the goal a ratio misses it; 0 if it's met.
        """
        beyond = (self.limit - ratio if self.at_least
                  else ratio - self.limit)
        return max(0.0, beyond / self.limit)

    def __str__(self) -> str:
        return f'{">=" if self.at_least else "<="} {self.limit:g}'


def at_most(ratio: float) -> Goal:
    return Goal(ratio)


def at_least(ratio: float) -> Goal:
    return Goal(ratio, at_least=True)


@dataclasses.dataclass(frozen=True)
class Figure:
    """One thing that was measured, of us and of what is there without us.

    :ivar name: what.
    :ivar unit: of the samples, as 's' or 'MiB'.
    :ivar ours: samples, one a round.
    :ivar stock: samples of what it is compared with; none if it is nothing.
    :ivar goal: of the ratio of their medians; None if it is only told.
    """

    name: str
    unit: str
    ours: tuple[float, ...]
    stock: tuple[float, ...] = ()
    goal: Goal | None = None

    @property
    def ratio(self) -> float | None:
        """Ours to stock, of the medians; None if there is no such thing."""
        if not self.ours or not self.stock:
            return None
        stock = statistics.median(self.stock)
        return statistics.median(self.ours) / stock if stock else None

    @property
    def missed_by(self) -> float | None:
        """By what share of the goal it is missed; None without a goal.

        What was to be measured and wasn't is missed by all of it.
        """
        if self.goal is None:
            return None
        return 1.0 if self.ratio is None else self.goal.missed_by(self.ratio)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Figure:
        goal = values['goal']
        return cls(values['name'], values['unit'], tuple(values['ours']),
                   tuple(values['stock']), Goal(**goal) if goal else None)

    def cells(self) -> tuple[str, ...]:
        """Return its line of the table."""
        ratio, missed_by = self.ratio, self.missed_by
        result = ''
        if missed_by is not None:
            result = f'missed by {missed_by:.0%}' if missed_by else 'met'
        return (self.name, self._median(self.ours), self._median(self.stock),
                '-' if ratio is None else f'{ratio:.2f}',
                '-' if self.goal is None else str(self.goal), result)

    def _median(self, samples: Sequence[float]) -> str:
        if not samples:
            return '-'
        return f'{statistics.median(samples):.4g} {self.unit}'.strip()


@dataclasses.dataclass(frozen=True)
class Report:
    """What one run measured.

    :ivar date: when, as ISO 8601 has it.
    :ivar machine: on what.
    :ivar rounds: how often each thing was done.
    :ivar figures: by the benchmark's name.
    """

    date: str
    machine: str
    rounds: int
    figures: dict[str, tuple[Figure, ...]]

    @property
    def missed(self) -> list[Figure]:
        """Figures whose goal is missed."""
        return [figure for figures in self.figures.values()
                for figure in figures if figure.missed_by]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Report:
        values = json.loads(text)
        return cls(values['date'], values['machine'], values['rounds'], {
            name: tuple(map(Figure.from_dict, figures))
            for name, figures in values['figures'].items()})


def table(figures: Sequence[Figure]) -> str:
    """Return figures as lines of text under a head."""
    rows = [_TITLES, *(figure.cells() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    # names and results are words; what is between them are numbers
    return '\n'.join('  '.join(
        cell.ljust(width) if number in (0, len(widths) - 1)
        else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(row, widths))).rstrip()
        for row in rows)
