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

import ddt

from os_brick_vmthunder import closeup
from os_brick_vmthunder import profile
from tests.unit.os_brick_vmthunder import fake_statistics

GIB, MIB, UNIT = 1 << 30, 1 << 20, profile.UNIT
SIZE = 20 * GIB - 512
NAME = fake_statistics.NAME


@ddt.ddt
class CloseUpTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.kernel = fake_statistics.FakeStatistics()
        self.kernel.use(self)

    def begin(self, numbers, coarse=MIB):
        known = profile.Profile.of(SIZE, MIB, numbers)
        return closeup.begin(NAME, known, coarse)

    def test_watches_what_is_named(self):
        self.begin([9, 3, 4, 20 * 1024 - 1])
        self.assertEqual(
            [(NAME, f'@stats_create {begin * 2048}+{length} 32 vmthunder')
             for begin, length in ((3, 2 * 2048), (9, 2048),
                                   (20 * 1024 - 1, 2047))], self.kernel.said)

    def test_not_too_many_places(self):
        numbers = [*range(0, 200, 2), *range(1000, 11000, 1000)]
        self.begin(numbers)
        areas = [each[0] for each in self.kernel.regions.values()]
        self.assertEqual(32, len(areas))
        for number in numbers:
            self.assertEqual(1, sum(
                int(begin) <= number * 2048 < int(begin) + int(length)
                for begin, length in (area.split('+') for area in areas)))

    def test_tells_small_areas_in_the_order_of_the_large_ones(self):
        seen = self.begin([9, 3, 4])
        for number in 3 * 64 + 63, 9 * 64 + 2, 9 * 64, 3 * 64 + 5:
            self.kernel.read(number)
        self.assertEqual(profile.Profile.of(SIZE, UNIT, [
            9 * 64, 9 * 64 + 2, 3 * 64 + 5, 3 * 64 + 63]), seen.read([9, 3]))

    def test_all_counts_of_what_was_not_named(self):
        seen = self.begin([3])
        last = SIZE // MIB
        self.kernel.read(3 * 64)
        read = seen.read([last, 3])
        self.assertEqual([profile.Extent(last * 64, 64),
                          profile.Extent(3 * 64)], list(read.extents))

    def test_larger_areas_where_there_is_no_room_for_small_ones(self):
        numbers = range(0, 4000, 2)
        seen = self.begin(numbers)
        for number in numbers:
            self.kernel.read(number * 64, number * 64 + 5)
        read = seen.read(numbers)
        self.assertEqual(MIB, read.area)  # there are as many of them
        self.assertEqual(len(numbers), len(read.extents))

    @ddt.data((1 << 30, 2 * UNIT, True), (1 << 30, UNIT, False),
              (100 << 20, MIB, True), (1 << 20, MIB, False),
              (4096, MIB, False))
    @ddt.unpack
    def test_only_where_areas_are_smaller(self, memory, coarse, closer):
        self.kernel.memory = memory
        seen = self.begin(range(0, 64 * 16, 16), coarse)
        self.assertEqual((closer, closer),
                         (seen is not None, bool(self.kernel.regions)))

    def test_end(self):
        seen = self.begin([9, 3])
        self.kernel.stats_create('0+99', '9', 'somebody')
        seen.end()
        self.assertEqual(['2'], list(self.kernel.regions))

    def test_profile_of_odd_areas(self):
        known = profile.Profile.parse('v2 5 1 7+2', SIZE)
        closeup.begin(NAME, known, MIB)
        self.assertEqual([f'@stats_create {5 * 32}+{5 * 32} 32 vmthunder',
                          f'@stats_create {35 * 32}+{10 * 32} 32 vmthunder'],
                         [text for _name, text in self.kernel.said])

    def test_nothing_named(self):
        self.begin([])
        self.assertEqual([], self.kernel.said)
