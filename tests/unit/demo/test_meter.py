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

import unittest
from unittest import mock

from demo import fetches
from demo import meter
from demo import probe
from demo import results
from os_brick_vmthunder import connection

TEMPLATE = 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee'
SECTOR = fetches.SECTOR


class MeterTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.host = mock.Mock()
        self.host.call.side_effect = self.call
        self.watched = 0
        self.meter = meter.Meter(self.host)

    def call(self, function, wwid):
        self.assertEqual(connection.wwid(TEMPLATE), wwid)
        if function == probe.read:
            return self.counters
        if function == fetches.watch:
            self.watched += 1
            return None
        self.assertEqual(fetches.take, function)
        return self.areas

    def lap(self, sectors, cache_bytes=0, areas=()):
        self.counters = results.Reading(sectors * SECTOR, cache_bytes)
        self.areas = [fetches.Area(*area) for area in areas]
        return self.meter.lap(TEMPLATE)

    def assertLap(self, new, again, lap):
        self.assertEqual((new * SECTOR, again * SECTOR),
                         (lap.new_bytes, lap.again_bytes))

    def test_first_lap(self):
        self.assertEqual(results.Reading(10 * SECTOR, 7), self.lap(10, 7))
        self.assertEqual(1, self.watched)

    def test_new(self):
        self.lap(10, 7)
        lap = self.lap(21, 50, [(0, 1, 1), (8, 8, 8), (64, 8, 2)])
        self.assertLap(11, 0, lap)
        self.assertEqual(43, lap.cache_bytes)
        self.assertEqual(1, self.watched)

    def test_again(self):
        self.lap(0)
        self.lap(8, 0, [(8, 8, 8)])
        self.assertLap(2, 8, self.lap(18, 0, [(0, 1, 1), (1, 1, 1),
                                              (8, 8, 8)]))

    def test_twice_at_once(self):
        self.lap(0)
        self.assertLap(8, 4, self.lap(12, 0, [(8, 8, 12)]))

    def test_beside_the_map(self):
        self.lap(0)
        self.assertLap(8, 3, self.lap(11, 0, [(8, 8, 8)]))

    def test_again_in_another_visit(self):
        self.lap(0)
        self.lap(8, 0, [(8, 8, 8)])
        self.meter.begin_visit()
        self.assertEqual(4 * SECTOR, self.lap(4).template_bytes)
        self.assertEqual(2, self.watched)
        self.assertLap(8, 8, self.lap(20, 0, [(8, 8, 8), (16, 8, 8)]))
