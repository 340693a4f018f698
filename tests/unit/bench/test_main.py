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

"""Tests of the program that runs benchmarks."""

import contextlib
import importlib
import io
import sys
import types
import unittest
from unittest import mock

from tests.bench import __main__ as program
from tests.bench import results


class ProgramTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.rounds = []
        self.output = io.StringIO()
        for patch in (
                mock.patch.dict(program.BENCHMARKS, {
                    'good': 'bench_good', 'bad': 'bench_bad'}, clear=True),
                mock.patch.dict(sys.modules, {
                    'bench_good': types.SimpleNamespace(run=self.good),
                    'bench_bad': types.SimpleNamespace(run=self.bad)}),
                contextlib.redirect_stdout(self.output),
                contextlib.redirect_stderr(self.output)):
            patch.__enter__()
            self.addCleanup(patch.__exit__, None, None, None)

    def good(self, rounds):
        self.rounds.append(rounds)
        return [results.Figure('it', 's', (3.0,), (1.0,),
                               results.at_most(2))]

    def bad(self, rounds):
        raise RuntimeError('broken')

    def test_one_that_fails_is_told_and_the_others_run(self):
        report, failed = program.measure(['bad', 'good'], 7)
        self.assertEqual(['bad'], failed)
        self.assertEqual(['good'], list(report.figures))
        self.assertEqual([7], self.rounds)
        self.assertEqual(7, report.rounds)
        self.assertEqual(1, program._conclude(report, failed))
        self.assertIn('0 of 1 goals met', self.output.getvalue())
        self.assertIn('could not be measured: bad', self.output.getvalue())

    def test_missed_goals_are_no_failure(self):
        report, failed = program.measure(['good'], 1)
        self.assertEqual(0, program._conclude(report, failed))
        self.assertIn('missed by 50%', self.output.getvalue())

    def test_unknown_name(self):
        with mock.patch.object(sys, 'argv', ['bench', 'nothing']), \
                self.assertRaises(SystemExit):
            program.main()
        self.assertIn('nothing', self.output.getvalue())


class BenchmarksTest(unittest.TestCase):

    def test_all_can_be_run(self):
        for name, module in program.BENCHMARKS.items():
            with self.subTest(name):
                self.assertTrue(callable(importlib.import_module(module).run))
