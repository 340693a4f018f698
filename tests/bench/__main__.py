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

"""Benchmarks of what is ours, each beside what is there without us.

    python -m tests.bench [NAME...] [--rounds N] [--json FILE] [--logs DIR]
    python -m tests.bench storm --help

Runs in the lab's sandbox. A benchmark is a module with a function
``run(rounds)`` that returns the figures it measured; what is measured and
what it is compared with take turns. Exits with 0 if all of them could be
measured, whatever came of it.
"""

import argparse
import datetime
import importlib
import pathlib
import sys
import time
import traceback

from tests.bench import results
from tests.functional import base
from tests.lab import sandbox

#: Modules by the benchmarks' names, in the order in which they run.
BENCHMARKS = {
    'create': 'tests.bench.create',
    'attach': 'tests.bench.attach',
    'atonce': 'tests.bench.atonce',
    'io': 'tests.bench.io',
    'memory': 'tests.bench.memory',
    'load': 'tests.bench.load',
}
_ROUNDS = 5


def main() -> int:
    """The program; see the module's description."""
    if sys.argv[1:2] == ['storm']:  # has options and results of its own
        from tests.bench.storm import command
        return command.main(sys.argv[2:])
    parser = argparse.ArgumentParser(
        prog='python -m tests.bench', description=(
            'Measure what is ours beside what is there without us.'))
    parser.add_argument('names', nargs='*', metavar='NAME',
                        help=', '.join(BENCHMARKS))
    parser.add_argument('--rounds', type=int, default=_ROUNDS)
    parser.add_argument('--json', type=pathlib.Path, metavar='FILE', help=(
        'where to write every sample'))
    parser.add_argument('--logs', type=pathlib.Path, metavar='DIR', help=(
        'where to leave the hosts\' logs'))
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f'no benchmark is called {", ".join(sorted(unknown))}')
    if options.rounds < 1:
        parser.error('a benchmark has at least one round')
    sandbox.ensure()
    report, failed = measure(options.names or list(BENCHMARKS),
                             options.rounds)
    if options.json:
        options.json.write_text(report.to_json())
    if options.logs:
        base.get_lab().collect_logs(options.logs)
    return _conclude(report, failed)


def measure(names: list[str], rounds: int
            ) -> tuple[results.Report, list[str]]:
    """Run benchmarks; return what they measured, and which could not."""
    figures: dict[str, tuple[results.Figure, ...]] = {}
    failed = []
    date = datetime.datetime.now(datetime.timezone.utc)
    for name in names:
        started = time.monotonic()
        print(f'==== {name}', flush=True)
        try:
            benchmark = importlib.import_module(BENCHMARKS[name])
            figures[name] = tuple(benchmark.run(rounds))
            print(results.table(figures[name]))
        except Exception:
            traceback.print_exc()
            failed.append(name)
        print(f'==== {name}: {time.monotonic() - started:.0f} s', flush=True)
    return results.Report(date.isoformat(timespec='seconds'),
                          results.machine(), rounds, figures), failed


def _conclude(report: results.Report, failed: list[str]) -> int:
    every = [figure for figures in report.figures.values()
             for figure in figures]
    print(f'\n{report.machine}; {report.date}; {report.rounds} rounds\n')
    print(results.table(every))
    goals = sum(figure.goal is not None for figure in every)
    print(f'\n{goals - len(report.missed)} of {goals} goals met')
    if failed:
        print(f'could not be measured: {", ".join(failed)}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
