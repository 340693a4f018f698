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

"""Tests of what benchmarks report."""

import unittest

import ddt

from tests.bench import results

FIGURE = results.Figure('attach', 's', (3.0, 1.0, 2.0), (1.0, 1.0, 5.0),
                        results.at_most(1.5))


@ddt.ddt
class FigureTest(unittest.TestCase):

    @ddt.data((results.at_most(1.5), 1.5, 0.0),
              (results.at_most(1.5), 3.0, 1.0),
              (results.at_most(2.0), 2.5, 0.25),
              (results.at_least(0.5), 0.5, 0.0),
              (results.at_least(0.5), 0.7, 0.0),
              (results.at_least(0.5), 0.25, 0.5))
    @ddt.unpack
    def test_goal(self, goal, ratio, missed_by):
        self.assertAlmostEqual(missed_by, goal.missed_by(ratio))

    def test_ratio_is_of_medians(self):
        self.assertEqual(2.0, FIGURE.ratio)
        self.assertAlmostEqual(1 / 3, FIGURE.missed_by)

    @ddt.data(((), (1.0,)), ((1.0,), ()), ((1.0,), (0.0,)))
    @ddt.unpack
    def test_no_ratio(self, ours, stock):
        figure = results.Figure('x', 's', ours, stock)
        self.assertIsNone(figure.ratio)
        self.assertIsNone(figure.missed_by)
        self.assertEqual('-', figure.cells()[3])

    def test_goal_of_nothing_is_missed(self):
        figure = results.Figure('x', 's', (), (1.0,), results.at_most(2))
        self.assertEqual(1.0, figure.missed_by)
        self.assertEqual('missed by 100%', figure.cells()[-1])


class ReportTest(unittest.TestCase):

    def test_json_and_back(self):
        report = results.Report('2026-01-01', 'this', 3, {
            'attach': (FIGURE, results.Figure('forks', '', (4.0,)))})
        self.assertEqual(report, results.Report.from_json(report.to_json()))
        self.assertEqual([FIGURE], report.missed)

    def test_table(self):
        self.assertEqual([
            'figure  ours  stock  ratio  goal  result',
            'attach   2 s    1 s   2.00  <= 2  met',
            'forks     12      -      -     -',
        ], results.table([
            results.Figure('attach', 's', (2.0,), (1.0,),
                           results.at_most(2)),
            results.Figure('forks', '', (12.0,))]).splitlines())
