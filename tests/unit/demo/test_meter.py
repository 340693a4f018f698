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


import threading
import unittest
from unittest import mock

from demo import fetches
from demo import meter
from demo import probe
from demo import results

SECTOR = fetches.SECTOR


class MeterTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.looks = []
        self.watching = threading.Event()
        self.ended = threading.Event()
        self.addCleanup(self.ended.set)
        self.host = mock.Mock()
        self.host.call.side_effect = self.call
        self.meter = meter.Meter(self.host)

    def call(self, function, timeout=None):
        if function == fetches.keep_watching:
            self.watching.set()
            self.ended.wait(60)
            raise KeyError('the watch ended')
        self.assertEqual(probe.look, function)
        return self.looks.pop(0)

    def look(self, least, areas=(), cache_bytes=0, sequence=1, most=0):
        self.looks.append(probe.Look(
            sequence, least * SECTOR, max(least, most) * SECTOR, cache_bytes,
            [fetches.Area(*area) for area in areas]))

    def lap(self, *arguments, **keywords):
        self.look(*arguments, **keywords)
        return self.meter.lap()

    def assertLap(self, new, again, lap):
        self.assertEqual((new * SECTOR, again * SECTOR),
                         (lap.new_bytes, lap.again_bytes))

    def test_watches(self):
        self.assertTrue(self.watching.wait(10))
        self.ended.set()
        with self.assertRaises(KeyError):
            for _ in range(1000):
                self.lap(0)
                threading.Event().wait(0.01)

    def test_first_lap(self):
        self.assertEqual(
            results.Reading(9 * SECTOR, 7, 9 * SECTOR),
            self.lap(9, [(0, 1, 1), (8, 8, 8)], 7))

    def test_next_lap(self):
        self.lap(9, [(8, 8, 8)], 7)
        lap = self.lap(21, [(0, 1, 1), (64, 8, 2)], 50)
        self.assertEqual(results.Reading(12 * SECTOR, 43, 3 * SECTOR), lap)

    def test_again(self):
        self.lap(8, [(8, 8, 8)])
        self.assertLap(2, 8, self.lap(18, [(0, 1, 1), (1, 1, 1), (8, 8, 8)]))

    def test_twice_at_once(self):
        self.assertLap(8, 4, self.lap(12, [(8, 8, 12)]))

    def test_tried_twice(self):
        self.assertLap(8, 0, self.lap(8, [(8, 8, 16)]))

    def test_fetched_while_one_looks(self):
        self.assertLap(16, 0, self.lap(
            8, [(8, 8, 8), (16, 8, 8)], most=24))
        self.assertLap(8, 0, self.lap(24, [(24, 8, 8)], most=32))

    def test_again_while_one_looks(self):
        """What was read twice for sure, and what maybe was."""
        self.assertLap(8, 4, self.lap(12, [(8, 8, 8)], most=28))
        self.assertLap(8, 8, self.lap(28, [(16, 8, 8)]))
        self.assertLap(8, 0, self.lap(28, [(24, 8, 8)], most=40))

    def test_counters_contradict_each_other(self):
        self.assertLap(16, -8, self.lap(
            4, [(8, 8, 8), (16, 8, 8)], most=8))

    def test_again_after_the_template_was_gone(self):
        self.lap(20, [(8, 8, 8)], 70)
        lap = self.lap(16, [(8, 8, 8), (16, 8, 8)], 30, sequence=2)
        self.assertEqual(
            results.Reading(16 * SECTOR, 30, 8 * SECTOR), lap)
