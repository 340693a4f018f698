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

"""Run suites of tests or checks and count what they say.

    python -m tools.run_tests SUITE...

The last line is ``N passed, N failed, N skipped``, summed over the suites.
The exit status is 0 only if nothing failed and every suite ran something.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import os
import subprocess
import sys
import threading
import time
from typing import Any, Protocol

import subunit
import testtools
from testtools.testresult.real import TestDict

from tests.tempest import selection

PYTHON = sys.executable
STESTR = (PYTHON, '-m', 'stestr', '--repo-url')
# A lab doesn't outlive who waits for it.
SANDBOX = ('setpriv', '--pdeathsig', 'TERM',
           PYTHON, '-m', 'tests.lab.sandbox', '--')
DOTS_IN_LINE = 70

# What Cinder and oslo say of eventlet in every process is nobody's news.
QUIET = 'ignore:::cinder,ignore:::oslo_privsep.daemon'

# Statuses of subunit, and what they count as. A test still in progress at
# the end of the stream died with its process.
COUNTS_AS = {'success': 'passed', 'xfail': 'passed', 'skip': 'skipped',
             'fail': 'failed', 'uxsuccess': 'failed', 'inprogress': 'failed',
             'unknown': 'failed'}

Counts = collections.Counter[str]

# Suites that run together show one test at a time.
_showing = threading.Lock()


class Suite(Protocol):
    """What can be run and counted."""

    def run(self) -> Counts:
        """Run all of it, showing how it goes.

        :returns: how many tests "passed", "failed" and "skipped".
        """


@dataclasses.dataclass(frozen=True)
class Tests:
    """Tests that stestr runs, as a stream of subunit."""

    name: str
    path: str
    options: tuple[str, ...] = ()
    #: what the command line of stestr comes after
    inside: tuple[str, ...] = ()
    #: options of stestr itself, not of its `run`
    finding: tuple[str, ...] = ()
    #: show a line per test, for tests that take their time
    lines: bool = False
    #: seconds after which it is killed; tests in progress then count as
    #: failed
    limit: float = 300
    #: tests that try to be killed at each step try one in so many
    stride: int = 1

    def run(self) -> Counts:
        report = _Report(self.lines)
        # Of its own, since suites may run at the same time.
        repository = f'.cache/stestr/{self.name}'
        os.makedirs(repository, exist_ok=True)
        process = subprocess.Popen(
            (*self.inside, *STESTR, repository, *self.finding, 'run',
             '--subunit', *self.options), stdout=subprocess.PIPE,
            env={**os.environ, 'OS_TEST_PATH': self.path,
                 'VMTHUNDER_STEP_STRIDE': str(self.stride),
                 'PYTHONWARNINGS': QUIET})
        guard = threading.Timer(self.limit, process.kill)
        guard.daemon = True  # not to outlive Ctrl-C
        guard.start()
        result = testtools.CopyStreamResult(
            [testtools.StreamToDict(report.test), _Output()])
        result.startTestRun()
        subunit.ByteStreamToStreamResult(
            process.stdout, non_subunit_name='stdout').run(result)
        result.stopTestRun()
        status = process.wait()
        guard.cancel()
        report.end()
        if not report.counts['failed'] and (status or not report.counts):
            print(f'FAILED {self.name}: exit status {status} after '
                  f'{report.counts.total()} tests')
            report.counts['failed'] += 1
        return report.counts


class _Report:
    """Shows each test as it ends, and counts."""

    def __init__(self, lines: bool) -> None:
        self.counts: Counts = collections.Counter()
        self._lines = lines
        self._dots = 0

    def test(self, test: TestDict) -> None:
        outcome = COUNTS_AS.get(test['status'])
        if outcome is not None:  # else only listed, say
            with _showing:
                self._show(test, outcome)

    def _show(self, test: TestDict, outcome: str) -> None:
        self.counts[outcome] += 1
        if self._lines or outcome != 'passed':
            self.end()
            print(f'{outcome:8}{_seconds(test):6.1f} s  {test["id"]}')
        else:
            self._dot()
        if outcome != 'passed':
            for name, content in sorted(test['details'].items()):
                text = content.as_text().strip()
                if text:
                    print(f'---- {name}\n{text}')
        sys.stdout.flush()

    def _dot(self) -> None:
        self._dots += 1
        print('.', end='')
        if self._dots == DOTS_IN_LINE:
            self.end()

    def end(self) -> None:
        """End the line of dots, if there is one."""
        if self._dots:
            print(f' {self.counts.total()}')
            self._dots = 0


class _Output(testtools.StreamResult):
    """Passes on what isn't a test's: prints of a test or of the lab."""

    def status(self, *args: Any, **packet: Any) -> None:
        if packet.get('test_id') is None and packet.get('file_bytes'):
            sys.stdout.flush()
            os.write(sys.stdout.fileno(), packet['file_bytes'])


@dataclasses.dataclass(frozen=True)
class Checks:
    """Commands that count as one test each."""

    commands: tuple[tuple[str, ...], ...]
    #: seconds after which one is killed, and failed
    limit: float = 1800

    def run(self) -> Counts:
        counts: Counts = collections.Counter()
        for command in self.commands:
            begin = time.monotonic()
            outcome = 'passed' if self._succeeds(command) else 'failed'
            counts[outcome] += 1
            print(f'{outcome:8}{time.monotonic() - begin:6.1f} s  '
                  f'{" ".join(command)}', flush=True)
        return counts

    def _succeeds(self, command: tuple[str, ...]) -> bool:
        try:
            return not subprocess.run((PYTHON, '-m') + command,
                                      timeout=self.limit).returncode
        except subprocess.TimeoutExpired as error:
            print(error)
            return False


@dataclasses.dataclass(frozen=True)
class Together:
    """Suites that run at the same time: lab hosts wait more than they work."""

    suites: tuple[Suite, ...]

    def run(self) -> Counts:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            counts: Counts = collections.Counter()
            for each in pool.map(lambda suite: suite.run(), self.suites):
                counts += each
            return counts


def _lab(name: str, stride: int, *choice: str, limit: float = 3600) -> Tests:
    """Return functional tests that share a lab of their own."""
    return Tests(name, './tests/functional', ('--serial', *choice), SANDBOX,
                 lines=True, limit=limit, stride=stride)


# Those that need the Cinder backend and some more: about half of the time.
CLOUD = r'functional\.test_(caches|controlplane|lio|templates|volumes)\.'
# All that Cinder's users do, with a cloud, and what is fetched ahead for them;
# and with the driver alone.
USERS = r'functional\.test_(contract|foretold|prefetch|tempest)\.'
DRIVER = (r'functional\.test_(fencing|full_pool|operations|overlays|'
          r'plain_iscsi)\.')
# Those that take long: each of a target of its own.
CACHES = r'functional\.test_caches\.'
OTHER_LAYER = r'test_caches\..*_dm_cache'
FAILURES = r'functional\.test_failures\.'
MODEL = r'functional\.test_model\.'
STORM = r'functional\.test_storm\.'
# Servers, and what attaches volumes without being root.
NOVA = r'functional\.test_(nova|service_users)'
# One in so many steps is tried, others the next day: all of them take an hour
# more.
STRIDE = 21

PEP8 = ('flake8',)
# No cache: with one, mypy misses modules that were added since.
MYPY = ('mypy', '--cache-dir', os.devnull)
SUITES: dict[str, Suite] = {
    'pep8': Checks((PEP8,)),
    'mypy': Checks((MYPY,)),
    'lint': Checks((PEP8, MYPY)),
    'unit': Together((Tests('unit', './tests/unit'),
                      Tests('unit-nova', './tests/unit_nova'))),
    'functional': Together((
        _lab('cloud', STRIDE, '--exclude-regex', OTHER_LAYER, CLOUD),
        _lab('hosts', STRIDE, '--exclude-regex',
             '|'.join((CLOUD, USERS, DRIVER, FAILURES, MODEL, STORM,
                       NOVA))))),
    'contract': Together((
        _lab('users', STRIDE, USERS),
        _lab('driver', STRIDE, DRIVER))),
    'demo': Checks((('demo',),)),
    'caches': _lab('caches', 1, CACHES),
    'failures': _lab('failures', 1, FAILURES),
    'model': _lab('model', 1, MODEL, limit=4 * 3600),
    'storm': _lab('storm', 1, STORM),
    'nova': _lab('nova', 1, NOVA, limit=2 * 3600),
    'tempest': Tests(
        'tempest', '', ('--concurrency', '2', *selection.ALL),
        (*SANDBOX, PYTHON, '-m', 'tests.tempest'), selection.STESTR,
        lines=True, limit=7200),
    'steps': Together((
        _lab('cloud-steps', 1,
             'killed_after_any_step|test_operations'),
        _lab('hosts-steps', 1, 'test_killed_attach|killed_after_every_step'))),
}


def _seconds(test: TestDict) -> float:
    begin, end = test['timestamps']
    return (end - begin).total_seconds() if begin and end else 0


def _summary(counts: Counts) -> str:
    return ', '.join(f'{counts[name]} {name}'
                     for name in ('passed', 'failed', 'skipped'))


def main() -> int:
    """Run the suites named on the command line.

    :returns: the process' exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('suites', nargs='+', choices=SUITES, metavar='SUITE',
                        help=', '.join(SUITES))
    total: Counts = collections.Counter()
    for name in parser.parse_args().suites:
        print(f'==== {name}', flush=True)
        begin = time.monotonic()
        counts = SUITES[name].run()
        total += counts
        print(f'==== {name}: {_summary(counts)} in '
              f'{time.monotonic() - begin:.0f} s', flush=True)
    print(_summary(total))
    return 1 if total['failed'] else 0


if __name__ == '__main__':
    sys.exit(main())
