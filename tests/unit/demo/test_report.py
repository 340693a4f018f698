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


import dataclasses
import unittest

import ddt

from demo import report
from demo import results
from tests.lab import guestlog

MIB = 1 << 20
IDS = {'A': 'id-of-a', 'B': 'id-of-b', 'C': 'id-of-c'}


def guest(name, boots, **changes):
    """Return what a server says after some boots."""
    lines = tuple(f'boot by {IDS[name]} {number + 1}'
                  for number in range(boots))
    said = guestlog.Guest(lines, True, f'mark-of-{name}', 1, True, 1 << 30)
    return dataclasses.replace(said, **changes)


def boot(name, host, boots, **changes):
    return results.Boot(results.Server(name, IDS[name]), host, 65.25, 101.0,
                        guest(name, boots, **changes))


def reading(new, again=0):
    """Return what a host reads that finds 100 MiB in the cache."""
    return results.Reading((new + again) * MIB, (new + again + 100) * MIB,
                           new * MIB)


def good():
    """Return the outcome of a run in which all went well."""
    return results.Outcome(
        (boot('A', 'one', 1), boot('C', 'two', 1), boot('B', 'one', 1),
         boot('C', 'one', 2), boot('A', 'two', 2), boot('B', 'two', 2)),
        (results.Turn('one', ('A',), reading(60)),
         results.Turn('two', ('C',), reading(61)),
         results.Turn('one', ('B',), reading(2)),
         results.Turn('one', ('C',), reading(3)),
         results.Turn('two', ('A', 'B'), reading(0))),
        1, ())


def with_boot(number, *place, **changes):
    outcome = good()
    boots = list(outcome.boots)
    boots[number] = boot(*place, **changes)
    return dataclasses.replace(outcome, boots=tuple(boots))


def with_reading(number, reading):
    outcome = good()
    turns = list(outcome.turns)
    turns[number] = dataclasses.replace(turns[number], reading=reading)
    return dataclasses.replace(outcome, turns=tuple(turns))


@ddt.ddt
class ChecksTest(unittest.TestCase):

    def problems(self, outcome):
        return [problem for check in report.checks(outcome)
                for problem in check.problems]

    def assertProblem(self, problem, outcome):
        self.assertEqual([problem], self.problems(outcome))
        self.assertEqual(
            1, sum(not check.holds for check in report.checks(outcome)))

    def test_good(self):
        self.assertEqual([], self.problems(good()))
        self.assertTrue(all(check.holds for check in report.checks(good())))

    @ddt.data(
        (0, ('A', 'one', 1), {'intact': False},
         'A on one found damaged files'),
        (3, ('C', 'two', 2), {}, 'C never booted on one'),
        (4, ('A', 'two', 2), {'diary': ('boot by id-of-a 1',)},
         'the diary of A on two says "boot by id-of-a 1", not '
         '"boot by id-of-a 1; boot by id-of-a 2"'),
        (2, ('B', 'one', 1),
         {'diary': ('boot by id-of-a 1', 'boot by id-of-b 2')},
         'the diary of B on one says "boot by id-of-a 1; boot by id-of-b 2", '
         'not "boot by id-of-b 1"'),
        (1, ('C', 'two', 1), {'healthy': False},
         'C on two found its data damaged'),
        (5, ('B', 'two', 2), {'mark': 'other'},
         'B on two has not what it wrote before'))
    @ddt.unpack
    def test_bad_guest(self, number, place, changes, problem):
        self.assertProblem(problem, with_boot(number, *place, **changes))

    def test_no_mark(self):
        outcome = with_boot(0, 'A', 'one', 1, mark='')
        self.assertEqual(['A on two has not what it wrote before',
                          'A on one found its data damaged'],
                         self.problems(outcome))

    def test_one_mark_for_two(self):
        outcome = good()
        boots = [dataclasses.replace(each, guest=dataclasses.replace(
            each.guest, mark='same')) if each.server.name != 'C' else each
            for each in outcome.boots]
        self.assertProblem('B has the same as A', dataclasses.replace(
            outcome, boots=tuple(boots)))

    @ddt.data(
        (1, reading(0), 'C on two read nothing: the count must be wrong'),
        (2, reading(2, 1), 'B on one read 1.0 MiB again'),
        (4, reading(0, 2), 'A and B on two read 2.0 MiB again'),
        (3, reading(4), 'C on one read 4.0 MiB, A on one 60.0 MiB'),
        (0, results.Reading(58 * MIB, 160 * MIB, 60 * MIB),
         'A on one read -2.0 MiB again'))
    @ddt.unpack
    def test_bad_reading(self, number, reading, problem):
        self.assertIn(problem, self.problems(with_reading(number, reading)))

    @ddt.data(0, 2)
    def test_imports(self, count):
        self.assertProblem(f'it was imported {count} times',
                           dataclasses.replace(good(), imports=count))

    def test_leftovers(self):
        self.assertProblem('one: session1', dataclasses.replace(
            good(), leftovers=('one: session1',)))


@ddt.ddt
class TablesTest(unittest.TestCase):

    @ddt.data((0, '0 B'), (1023, '1023 B'), (1024, '1.0 KiB'),
              (60 * MIB + MIB // 2, '60.5 MiB'),
              (-MIB, '-1.0 MiB'), (5 << 40, '5120.0 GiB'))
    @ddt.unpack
    def test_size(self, count, text):
        self.assertEqual(text, report.size(count))

    def rows(self):
        return [line.split() for line in
                report.tables(good()).splitlines()]

    def test_servers(self):
        rows = self.rows()
        self.assertIn(['A', 'one', '65.2', 's', '101.0', 's', 'boot', 'by',
                       'A', '1'], rows)
        self.assertIn(['two', '65.2', 's', '101.0', 's', 'boot', 'by', 'A',
                       '1;', 'boot', 'by', 'A', '2'], rows)

    def test_hosts(self):
        rows = self.rows()
        self.assertIn(['one', 'A', '160.0', 'MiB', '100.0', 'MiB', '60.0',
                       'MiB', '0', 'B'], rows)
        self.assertIn(['A,', 'B', '100.0', 'MiB', '100.0', 'MiB', '0', 'B',
                       '0', 'B'], rows)

    def test_columns_are_aligned(self):
        hosts = report.tables(good()).split('\n\n')[1].splitlines()
        self.assertEqual(1, len({len(line) for line in hosts}))
