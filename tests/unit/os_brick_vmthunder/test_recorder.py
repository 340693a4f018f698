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

from os_brick_vmthunder import dmstats
from os_brick_vmthunder import exception
from os_brick_vmthunder import profile
from os_brick_vmthunder import recorder
from tests.unit.os_brick_vmthunder import fake_statistics

GIB = 1 << 30
MIB = profile.MIB
KERNEL, NAME = fake_statistics.KERNEL, fake_statistics.NAME


@ddt.ddt
class RecordingTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.now = 100.0
        self.kernel = fake_statistics.FakeStatistics()
        self.kernel.use(self)

    def record(self, size=50 * MIB - 512, known=None):
        return recorder.Recording(KERNEL, NAME, size, known,
                                  lambda: self.now)

    def test_order(self):
        recording = self.record()
        self.assertEqual(
            [(NAME, f'@stats_create 0+{50 * 2048 - 1} {sectors} vmthunder')
             for sectors in (2048, 32)], self.kernel.said)
        for numbers in (9, 4), (), (3199, 4, 0), (130, 64, 1, 127):
            self.kernel.read(*numbers)
            recording.look()
        self.assertEqual(
            profile.Profile.of(50 * MIB - 512, profile.UNIT,
                               [4, 9, 0, 3199, 1, 64, 127, 130]),
            recording.read())

    def test_looks_closely_only_where_something_was_read(self):
        recording = self.record()
        for _number in range(3):
            recording.look()
        self.kernel.read(5)
        recording.look()
        recording.look()
        self.assertEqual(2 * 50 + 64, self.kernel.printed)
        self.kernel.read(6, 64, 1000)
        recording.look()
        self.assertEqual(3 * 50 + 64 + 3 * 64, self.kernel.printed)
        self.assertEqual(3 + 3, sum('print' in text
                                    for _name, text in self.kernel.said))

    def test_does_not_look_at_too_many_places(self):
        recording = self.record()
        read = range(64, 3000, 128)
        self.kernel.read(*read)
        recording.look()
        self.assertEqual(2, sum('print' in text
                                for _name, text in self.kernel.said))
        self.assertEqual(list(read), [
            extent.first for extent in recording.read().extents])

    @ddt.data((1 << 40, 1, 1118481), (256 << 30, 64, 39522),
              (512 << 20, 1, 139810), (176 << 20, 1, 48059),
              (1 << 20, 4, 118), (4096, 64, 1))
    @ddt.unpack
    def test_takes_no_more_memory_than_it_may(self, memory, processors, most):
        self.kernel.memory, self.kernel.processors = memory, processors
        size = most * profile.UNIT
        self.record(size)
        self.record(size + 512)
        self.assertEqual([str(profile.UNIT // 512),
                          str(2 * profile.UNIT // 512)],
                         [text.split()[2] for _name, text
                          in self.kernel.said[1::2]])

    def test_larger_areas_of_a_large_template(self):
        self.kernel.processors = 64
        recording = self.record(1 << 40)
        self.kernel.read(7 << 13)
        recording.look()
        self.assertEqual('v2 2000 7', recording.read().to_text())

    def test_looks_closely_where_large_areas_were_read_before(self):
        size = 20 * GIB
        self.kernel.processors = 64
        self.kernel.memory = 256 * GIB
        first = self.record(size)
        boot = [5 * GIB, 5 * GIB + 3 * MIB, GIB, 18 * GIB]
        numbers = [offset // profile.UNIT for offset in boot]
        self.kernel.read(*numbers)
        first.look()
        coarse = first.read()
        self.assertEqual((MIB, 4 * MIB), (coarse.area, coarse.bytes))
        first.end()
        second = self.record(size, coarse)
        for number in numbers:
            self.kernel.read(number)
            second.look()
        self.kernel.read(16 * GIB // profile.UNIT)  # elsewhere
        second.look()
        elsewhere = range(16 * GIB // profile.UNIT,
                          (16 * GIB + MIB) // profile.UNIT)
        self.assertEqual(profile.Profile.of(
            size, profile.UNIT, [*numbers, *elsewhere]), second.read())
        second.end()
        self.assertEqual({}, self.kernel.regions)

    def test_does_not_look_closer_where_all_is_close(self):
        self.record(known=profile.Profile.of(50 * MIB - 512, MIB, [3, 9]))
        self.assertEqual(2, len(self.kernel.said))

    def test_is_over_when_it_is_quiet(self):
        recording = self.record()
        self.now += recorder.QUIET_SECONDS + 1
        recording.look()
        self.assertFalse(recording.is_over)  # it hasn't begun
        self.kernel.read(1)
        recording.look()
        self.now += recorder.QUIET_SECONDS - 1
        self.kernel.read(2)
        recording.look()
        self.now += recorder.QUIET_SECONDS - 1
        recording.look()
        self.assertFalse(recording.is_over)
        self.now += 1
        recording.look()
        self.assertTrue(recording.is_over)
        recording.end()
        self.assertEqual({}, self.kernel.regions)

    def test_does_not_last_for_ever(self):
        recording = self.record()
        self.now += recorder.PATIENCE_SECONDS - 1
        self.assertFalse(recording.is_vain)
        start = self.now
        for number in range(50):
            self.assertFalse(recording.is_over)
            self.kernel.read(number)
            recording.look()
            self.now += recorder.QUIET_SECONDS - 1
            if self.now - start >= recorder.LONGEST_SECONDS:
                break
        self.assertLess(number, 49)
        self.assertTrue(recording.is_over)
        self.assertFalse(recording.is_vain)

    def test_who_reads_nothing(self):
        recording = self.record()
        self.now += recorder.PATIENCE_SECONDS
        recording.look()
        self.assertTrue(recording.is_vain)
        self.assertFalse(recording.is_over)

    def test_device_that_went(self):
        recording = self.record()
        self.kernel.there = False
        with self.assertRaisesRegex(exception.DeviceMapperError,
                                    f'{NAME}.*not found$'):
            recording.look()
        recording.end()
        dmstats.end_all(NAME)
        self.assertRaises(exception.DeviceMapperError, self.record)

    def test_what_others_left(self):
        self.record()
        self.kernel.stats_create('0+99', '9', 'somebody')
        self.record()
        dmstats.end_all(NAME)
        self.assertEqual(['2'], list(self.kernel.regions))
