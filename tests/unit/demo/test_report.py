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

MIB = 1 << 20


def reading(mib, new=None):
    """Return what a boot reads that finds 100 MiB in the cache."""
    return results.Reading(mib * MIB, (mib + 100) * MIB,
                           (mib if new is None else new) * MIB)


def stay(volume, host, diary, at_boot=0, at_attach=0, intact=True):
    boot = results.Boot(20.0, tuple(diary), intact)
    return results.Stay(volume, host, 7.5, results.Reading(at_attach * MIB),
                        boot, reading(at_boot))


def good():
    """Return the outcome of a run in which all went well."""
    a1, a2 = 'boot by A@one 1', 'boot by A@two 2'
    b1, b2 = 'boot by B@one 1', 'boot by B@two 2'
    c1, c2 = 'boot by C@two 1', 'boot by C@one 2'
    return results.Outcome(
        {'A': 21.25, 'B': 3.0, 'C': 4.0},
        (stay('A', 'one', [a1], 60, 2), stay('B', 'one', [b1]),
         stay('C', 'two', [c1], 61, 3), stay('C', 'one', [c1, c2], 3),
         stay('A', 'two', [a1, a2]), stay('B', 'two', [b1, b2])),
        ())


def changed(number, **changes):
    """Return the good outcome with one stay that is different."""
    outcome = good()
    stays = list(outcome.stays)
    stays[number] = dataclasses.replace(stays[number], **changes)
    return dataclasses.replace(outcome, stays=tuple(stays))


def boot(*diary, intact=True):
    return results.Boot(20.0, diary, intact)


@ddt.ddt
class ChecksTest(unittest.TestCase):

    def problems(self, outcome):
        return [problem for check in report.checks(outcome)
                for problem in check.problems]

    def test_good(self):
        self.assertEqual([], self.problems(good()))
        self.assertTrue(all(check.holds for check in report.checks(good())))

    @ddt.data(
        ('damaged', 0, {'boot': boot('boot by A@one 1', intact=False)},
         'A@one found damaged files'),
        ('own lines lost', 4, {'boot': boot('boot by A@two 1')},
         'the diary of A@two says "boot by A@two 1", not '
         '"boot by A@one 1; boot by A@two 2"'),
        ("another's line", 1,
         {'boot': boot('boot by A@one 1', 'boot by B@one 2')},
         'the diary of B@one says "boot by A@one 1; boot by B@one 2", not '
         '"boot by B@one 1"'),
        ('nothing counted', 2, {'boot_reading': reading(0)},
         'C@two read nothing: the count must be wrong'),
        ('read again', 1, {'boot_reading': reading(3, 2)},
         'B@one read 1.0 MiB'),
        ('read again after moving', 3, {'boot_reading': reading(2, 0)},
         'C@one read 2.0 MiB'),
        ('contradiction', 3, {'boot_reading': reading(2, 3)},
         'C@one read -1.0 MiB'),
        ('too much new', 4, {'boot_reading': reading(4)},
         'A@two read 4.0 MiB, C@two 61.0 MiB'))
    @ddt.unpack
    def test_bad(self, _name, number, changes, problem):
        outcome = changed(number, **changes)
        self.assertEqual([problem], self.problems(outcome))
        self.assertEqual(
            1, sum(not check.holds for check in report.checks(outcome)))

    def test_leftovers(self):
        outcome = dataclasses.replace(good(), leftovers=('one: session1',))
        self.assertEqual(['one: session1'], self.problems(outcome))


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

    def test_volumes(self):
        rows = self.rows()
        self.assertIn(['A', '21.2', 's', 'one', '7.5', 's', '20.0', 's',
                       '2.0', 'MiB', '100.0', 'MiB', '60.0', 'MiB', '0',
                       'B'], rows)
        self.assertIn(['one', '7.5', 's', '20.0', 's', '0', 'B', '100.0',
                       'MiB', '3.0', 'MiB', '0', 'B'], rows)

    def test_hosts(self):
        rows = self.rows()
        self.assertIn(['one', '3', '65.0', 'MiB', '300.0', 'MiB', '63.0',
                       'MiB'], rows)
        self.assertIn(['two', '3', '64.0', 'MiB', '300.0', 'MiB', '61.0',
                       'MiB'], rows)

    def test_diaries(self):
        self.assertIn('B        boot by B@one 1; boot by B@two 2',
                      report.tables(good()).splitlines())

    def test_columns_are_aligned(self):
        volumes = report.tables(good()).split('\n\n')[0].splitlines()
        self.assertEqual(1, len({len(line) for line in volumes}))
