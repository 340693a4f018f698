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

"""The command line of the storm benchmark; see :mod:`tests.bench.storm`."""

import argparse
import datetime
import pathlib
import sys
import time
import traceback
import typing

from tests.bench import results
from tests.bench.storm import contenders
from tests.bench.storm import fleet as fleets
from tests.bench.storm import outcome
from tests.bench.storm import plan
from tests.bench.storm import report
from tests.bench.storm import trace as traces
from tests import lab
from tests.lab import sandbox

_HOSTS = (1, 8, 32)
_SCALE = outcome.Scale()


def main(arguments: list[str]) -> int:
    """Run storms, or show those of a file; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    wrong: list[str] = []
    if options.show:
        try:
            run = outcome.merge([outcome.Run.from_json(file.read_text())
                                 for file in options.show])
        except ValueError as error:
            parser.error(str(error))
        if options.json:
            options.json.write_text(run.to_json())
    else:
        if not 1 <= max(options.hosts) <= fleets.MOST_HOSTS:
            parser.error(f'the lab has room for {fleets.MOST_HOSTS} hosts')
        sandbox.ensure()
        scale = outcome.Scale(options.link, options.pauses, options.share,
                              options.memory, options.cache,
                              options.ahead)
        run, wrong = measure(sorted(options.hosts), options.contenders,
                             scale, options.json, options.logs)
    print(report.text(run))
    if options.plots:
        from tests.bench.storm import plots
        plots.write(run, options.plots, options.name)
    if options.rst:
        options.rst.write_text(report.rst(run, options.name))
    wrong += [what for storm in run.storms for what in storm.wrong]
    for what in wrong[:20]:
        print(what)
    return 1 if wrong else 0


def measure(sizes: typing.Sequence[int], names: typing.Sequence[str],
            scale: outcome.Scale, file: pathlib.Path | None,
            logs: pathlib.Path | None) -> tuple[outcome.Run, list[str]]:
    """Let storms of all sizes blow over all contenders.

    :param file: gets what was measured, after each contender.
    :param logs: gets the hosts' logs where something could not be measured.
    :returns: what was measured, and what could not be.
    """
    trace = traces.load().thinned(scale.share)
    run = outcome.Run(
        datetime.datetime.now(datetime.timezone.utc).isoformat(
            timespec='seconds'), results.machine(), scale, outcome.Boot(
                trace.guest, round(trace.seconds, 1), len(trace.requests),
                plan.working_set(trace), trace.image_size),
        contenders.ROOT_FAN_OUT, ())
    failed = []
    say = _Say()
    with lab.Lab() as opened:
        for size in sizes:
            say(f'{size} hosts start')
            with fleets.Fleet(opened, size, scale, trace) as fleet:
                for name in names:
                    say(f'{size} hosts: {contenders.TITLES[name]}')
                    try:
                        found = contenders.CONTENDERS[name](fleet)
                    except Exception:  # the others are measured still
                        say(traceback.format_exc() + fleet.state())
                        if logs:
                            opened.collect_logs(logs / f'{size}-{name}')
                        failed.append(f'{size} hosts: {name}')
                        continue
                    run = run.with_storms(found)
                    for storm in found:
                        say(report.line(storm))
                    if file:
                        file.write_text(run.to_json())
    return run, failed


class _Say:

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def __call__(self, what: str) -> None:
        print(f'{time.monotonic() - self._begin:7.1f} s  {what}',
              file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m tests.bench storm', description=(
            'Boot on many hosts at the same moment, from VMThunder and from '
            'what is there without it.'))
    parser.add_argument('--hosts', type=_numbers, default=_HOSTS,
                        metavar='N,...', help='how many, one after another')
    parser.add_argument('--contenders', type=_names,
                        default=tuple(contenders.CONTENDERS),
                        metavar='NAME,...',
                        help=', '.join(contenders.CONTENDERS))
    parser.add_argument('--link', type=float, default=_SCALE.link_mbit,
                        metavar='MBIT', help="every host's link, each way")
    parser.add_argument('--pauses', type=float, default=_SCALE.pauses,
                        metavar='FACTOR', help=(
                            "how long the guest's pauses are, beside those "
                            'that were recorded'))
    parser.add_argument('--share', type=int, default=_SCALE.share,
                        metavar='N', help='replay one request of so many')
    parser.add_argument('--memory', type=int, default=_SCALE.memory,
                        metavar='MIB', help="each host's")
    parser.add_argument('--cache', type=int, default=_SCALE.cache,
                        metavar='GIB', help="size of each host's cache")
    parser.add_argument('--ahead', type=float, default=_SCALE.ahead,
                        metavar='SECONDS', help=(
                            'how long before its guest a host begins to '
                            'prefetch, in seconds of real hosts'))
    parser.add_argument('--json', type=pathlib.Path, metavar='FILE', help=(
        'where to write all that was measured, or is shown'))
    parser.add_argument('--plots', type=pathlib.Path, metavar='DIR', help=(
        'where to draw it, as SVG'))
    parser.add_argument('--rst', type=pathlib.Path, metavar='FILE', help=(
        'where to write the tables for the documentation'))
    parser.add_argument('--logs', type=pathlib.Path, metavar='DIR', help=(
        "where to leave the hosts' logs if something fails"))
    parser.add_argument('--name', default='storm', help=(
        "what the plots' names begin with"))
    parser.add_argument('--show', type=pathlib.Path, metavar='FILE',
                        nargs='+', help=(
                            'measure nothing, take what such files say, '
                            'runs of the same scale'))
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(',')))


def _names(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(','))
    for name in chosen:
        if name not in contenders.CONTENDERS:
            raise argparse.ArgumentTypeError(f'there is no contender {name}')
    return chosen
