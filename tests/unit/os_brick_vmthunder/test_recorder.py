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

from oslo_concurrency import processutils

from os_brick_vmthunder import exception
from os_brick_vmthunder.privileged import dmsetup
from os_brick_vmthunder import profile
from os_brick_vmthunder import recorder

MIB = profile.MIB
NAME = 'vmthunder-x-origin'


class FakeStatistics:
    """device-mapper's statistics of one device."""

    def __init__(self, sectors):
        self.sectors = sectors
        self.regions = {}
        self.said = []
        self.there = True

    def message(self, name, text):
        if not self.there:
            raise processutils.ProcessExecutionError(
                stderr=f'Device {name} not found\n')
        self.said.append((name, text))
        action, *words = text.split()
        return getattr(self, action[1:])(*words)

    def stats_create(self, area, step, program):
        number = str(len(self.regions))
        self.regions[number] = area, int(step), program, set()
        return f'{number}\n'

    def stats_list(self, program):
        return ''.join(f'{number}: {area} {step} {owner} -\n'
                       for number, (area, step, owner, _read)
                       in self.regions.items() if owner == program)

    def stats_delete(self, number):
        del self.regions[number]
        return ''

    def stats_print(self, number):
        area, step, _program, read = self.regions[number]
        start, length = map(int, area.split('+'))
        return ''.join(
            f'{place}+{min(step, length - place)} '
            f'{3 * (place in read)} 0 {24 * (place in read)} '
            '0 5 0 40 0 0 0 0 0 0\n'  # written to, which doesn't count
            for place in range(start, start + length, step))

    def read(self, *numbers):
        for _area, step, _program, read in self.regions.values():
            read.update(number * step for number in numbers)


class RecordingTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.now = 100.0
        self.kernel = FakeStatistics(50 * 2048)
        patch = mock.patch.object(dmsetup, 'message', self.kernel.message)
        patch.start()
        self.addCleanup(patch.stop)

    def record(self, size=50 * MIB - 512):
        return recorder.Recording(NAME, size, lambda: self.now)

    def test_order(self):
        recording = self.record()
        self.assertEqual([(NAME, f'@stats_create 0+{50 * 2048 - 1} 2048 '
                           'vmthunder')], self.kernel.said)
        for numbers in (9, 4), (), (49, 4, 0):
            self.kernel.read(*numbers)
            recording.look()
        self.assertEqual(
            profile.Profile.of(50 * MIB - 512, [4, 9, 0, 49]),
            recording.profile)

    def test_larger_areas_of_a_large_template(self):
        size = 5 * profile.MOST_AREAS * MIB
        recording = self.record(size)
        self.kernel.read(7)
        recording.look()
        self.assertEqual('v1 8 7', recording.profile.to_text())

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
        recorder.end_all(NAME)
        self.assertRaises(exception.DeviceMapperError, self.record)

    def test_what_others_left(self):
        self.record()
        self.kernel.stats_create('0+99', '9', 'somebody')
        self.record()
        recorder.end_all(NAME)
        self.assertEqual(['1'], list(self.kernel.regions))
