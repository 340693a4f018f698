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

"""Draws what storms were like. Needs matplotlib, which nothing else does."""

import pathlib
import typing

import matplotlib
from matplotlib import pyplot

from tests.bench.storm import contenders
from tests.bench.storm import outcome
from tests.bench.storm import report

MIB = 1 << 20

matplotlib.use('svg')
# the same data gives the same file
matplotlib.rcParams['svg.hashsalt'] = 'vmthunder'
_COLORS = dict(zip(contenders.TITLES, (
    'tab:blue', 'tab:purple', 'tab:cyan', 'tab:pink', 'tab:red', 'tab:orange',
    'tab:green'), strict=True))
# some lie upon each other
_MARKERS = dict(zip(contenders.TITLES, 'oDsdx+^', strict=True))


def write(run: outcome.Run, directory: pathlib.Path,
          name: str) -> list[pathlib.Path]:
    """Draw all that a run can tell.

    :param name: of the run, see :func:`.report.plot`.
    :returns: the files, as SVG.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for what, _title in report.plots(run):
        path = directory / report.plot(name, what)
        if isinstance(what, int):
            _progress(run, what, path)
        elif what == report.TIME:
            _lines(run, path, 'seconds until all have booted',
                   lambda storm: storm.seconds)
        else:
            _lines(run, path, 'MiB that the storage host sent',
                   lambda storm: storm.egress / MIB, 'log')
        written.append(path)
    return written


def _lines(run: outcome.Run, path: pathlib.Path, label: str,
           value: typing.Callable[[outcome.Storm], float],
           scale: str = 'linear') -> None:
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name in contenders.TITLES:
        storms = sorted((storm for storm in run.storms
                         if storm.contender == name),
                        key=lambda storm: storm.hosts)
        if storms:
            axes.plot([storm.hosts for storm in storms],
                      [value(storm) for storm in storms],
                      marker=_MARKERS[name], markersize=9,
                      fillstyle='none',
                      color=_COLORS[name], label=contenders.TITLES[name])
    axes.set_xscale('log', base=2)
    axes.set_yscale(scale)
    if scale == 'linear':
        axes.set_ylim(bottom=0)
    axes.set_xticks(run.sizes, [str(size) for size in run.sizes])
    axes.set_xlabel('hosts')
    axes.set_ylabel(label)
    axes.grid(True, which='both', alpha=0.3)
    axes.legend(fontsize='small')
    _save(figure, path)


def _progress(run: outcome.Run, size: int,
              path: pathlib.Path) -> None:
    storms = [storm for name in contenders.TITLES
              if (storm := run.find(name, size))]
    figure, every = pyplot.subplots(
        1, len(storms), figsize=(3 * len(storms), 3.2), sharey=True,
        squeeze=False)
    for axes, storm in zip(every[0], storms):
        for row in storm.rows:
            axes.plot([seconds for seconds, _count in row.progress],
                      [count / MIB for _seconds, count in row.progress],
                      color=_COLORS[storm.contender], alpha=0.4, lw=0.8)
        axes.set_title(contenders.TITLES[storm.contender], fontsize=8)
        axes.set_xlabel('seconds')
        axes.grid(True, alpha=0.3)
    every[0][0].set_ylabel(f'MiB read by each of {size} guests')
    _save(figure, path)


def _save(figure: typing.Any, path: pathlib.Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={'Date': None})
    pyplot.close(figure)
