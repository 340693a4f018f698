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

import ddt

from os_brick_vmthunder import agentrecorder
from os_brick_vmthunder import exception
from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder import profile
from tests.unit.os_brick_vmthunder import fake_kernel
from tests.unit.os_brick_vmthunder import test_hostprofiles

ONE, OTHER = test_hostprofiles.ONE, test_hostprofiles.OTHER
MIB = profile.MIB
SIZE = 100 * MIB
BOOT = [50, *range(10, 30)]


class FakeRecording:
    """A recording of a device, which ends when the test says so."""

    def __init__(self, name, size):
        self.name, self.size = name, size
        self.numbers = []
        self.is_over = self.is_vain = self.ended = self.gone = False

    def read(self):
        return profile.Profile.of(self.size, MIB, self.numbers)

    def look(self):
        if self.gone:
            raise exception.DeviceMapperError(action='watch',
                                              device=self.name, reason='x')

    def end(self):
        self.ended = True


class RecorderTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        test_hostprofiles.use(self)
        self.kernel = fake_kernel.FakeKernel(self)
        self.recordings = {}
        self.begun = []
        self.known = []
        self.ended = []
        for target, name, new in (
                (agentrecorder.recorder, 'Recording', self.record),
                (agentrecorder.dmstats, 'end_all', self.ended.append)):
            patch = mock.patch.object(target, name, new)
            patch.start()
            self.addCleanup(patch.stop)
        self.recorder = agentrecorder.Recorder()
        self.template('dm-0', ONE)
        self.template('dm-1', OTHER)

    def record(self, kernel, name, size, known):
        self.assertEqual(name.replace('origin', 'dm'), kernel)
        self.begun.append(name)
        self.known.append(known)
        self.recordings[name] = recording = FakeRecording(name, size)
        return recording

    def device(self, kernel, name, uuid):
        self.kernel.write(name, 'block', kernel, 'dm', 'name')
        self.kernel.write(uuid, 'block', kernel, 'dm', 'uuid')

    def template(self, kernel, template_id):
        self.device(kernel, f'template-{kernel}',
                    f'VMTHUNDER-template-{template_id}')
        self.kernel.write(str(SIZE // 512), 'block', kernel, 'size')

    def origin(self, number, template='dm-0'):
        kernel = f'dm-{number}'
        self.device(kernel, f'origin-{number}',
                    f'VMTHUNDER-origin-volume-{number}')
        self.kernel.write('', 'block', kernel, 'slaves', template)
        return f'origin-{number}'

    def recorded(self):
        return hostprofiles.recorded.read(ONE)

    def test_watches_what_comes(self):
        old = self.origin(10)
        self.recorder.look()
        self.assertEqual(([old], []), (self.ended, self.begun))
        new = self.origin(11)
        self.recorder.look()
        self.recorder.look()
        self.assertEqual([new], self.begun)
        recording = self.recordings[new]
        self.assertEqual(SIZE, recording.size)
        recording.numbers = BOOT
        self.recorder.look()
        self.assertIsNone(self.recorded())
        recording.is_over = True
        self.recorder.look()
        self.assertTrue(recording.ended)
        self.assertEqual(hostprofiles.Recorded('v2 40 32 a+14'),
                         self.recorded())

    def test_knows_what_was_foretold(self):
        self.recorder.look()
        known = profile.Profile.of(SIZE, MIB, BOOT)
        hostprofiles.foretold.write(ONE, hostprofiles.Foretold(
            SIZE, known.to_text()))
        self.origin(11)
        self.origin(12, 'dm-1')
        self.recorder.look()
        self.assertCountEqual([known, None], self.known)

    def test_one_of_a_template_at_a_time(self):
        self.recorder.look()
        first, second = self.origin(11), self.origin(12)
        third = self.origin(13, 'dm-1')
        self.recorder.look()
        self.assertEqual(2, len(self.begun))
        self.assertIn(third, self.begun)
        for recording in self.recordings.values():
            recording.is_over = True
        self.recorder.look()
        fourth = self.origin(14)
        self.recorder.look()
        self.assertEqual(3, len(self.begun))
        self.assertIn(fourth, self.begun)
        self.assertEqual(1, len({first, second} & set(self.begun)))

    def test_not_too_many(self):
        self.recorder.look()
        for number in range(20, 30):
            self.template(f'dm-{number}', f'{number - 20}{ONE[1:]}')
            self.origin(number + 20, f'dm-{number}')
        self.recorder.look()
        self.assertEqual(agentrecorder.MOST_RECORDINGS, len(self.begun))

    def test_no_memory(self):
        self.recorder.look()
        name = self.origin(11)
        refused = exception.DeviceMapperError(action='watch', device=name,
                                              reason='x')
        with mock.patch.object(agentrecorder.recorder, 'Recording',
                               side_effect=refused) as begin:
            self.recorder.look()
            self.recorder.look()
        self.assertEqual(1, begin.call_count)
        # some of what it takes may be there
        self.assertEqual([name], self.ended)

    def test_volume_that_goes_while_it_boots(self):
        self.recorder.look()
        name = self.origin(11)
        self.recorder.look()
        self.recordings[name].numbers = BOOT
        self.recordings[name].gone = True
        self.recorder.look()
        self.assertIsNone(self.recorded())
        self.recorder.look()
        self.origin(12)
        self.recorder.look()
        self.assertEqual(2, len(self.begun))

    def test_who_does_not_boot(self):
        self.recorder.look()
        name = self.origin(11)
        self.recorder.look()
        self.recordings[name].is_vain = True
        self.recorder.look()
        self.assertTrue(self.recordings[name].ended)
        self.assertIsNone(self.recorded())

    def test_device_that_cannot_be_watched(self):
        self.recorder.look()
        with mock.patch.object(
                agentrecorder.recorder, 'Recording',
                side_effect=exception.DeviceMapperError(
                    action='watch', device='x', reason='no memory')):
            self.origin(11)
            self.recorder.look()
        self.origin(12)
        self.recorder.look()
        self.assertEqual(['origin-12'], self.begun)


@ddt.ddt
class JudgeTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        test_hostprofiles.use(self)

    def judge(self, numbers):
        read = profile.Profile.of(SIZE, MIB, numbers)
        agentrecorder.judge(ONE, read)
        return hostprofiles.recorded.read(ONE), read.to_text()

    def foretell(self, text):
        hostprofiles.foretold.write(ONE, hostprofiles.Foretold(SIZE, text))

    def test_first_boot(self):
        self.foretell('')
        recorded, text = self.judge(BOOT)
        self.assertEqual(hostprofiles.Recorded(text), recorded)

    def test_who_only_looks(self):
        self.assertIsNone(self.judge(range(1))[0])

    @ddt.data(BOOT, BOOT[:15] + [90, 91, 92], BOOT + list(range(60, 80)))
    def test_foretold(self, numbers):
        self.foretell(profile.Profile.of(SIZE, MIB, BOOT).to_text())
        self.assertIsNone(self.judge(numbers)[0])

    @ddt.data('v2 40 0+5', 'v2 40 a+8', 'v2 40 0+ff', 'v9', 'v2 40 z')
    def test_badly_foretold(self, text):
        self.foretell(text)
        recorded, new = self.judge(BOOT)
        self.assertEqual(new, recorded.text)
        try:
            known = profile.Profile.parse(text, SIZE).digest
        except exception.InvalidProfile:
            known = ''
        self.assertEqual(known, recorded.replaces)

    def test_foretold_in_large_areas(self):
        known = profile.Profile.of(SIZE, MIB, BOOT)
        self.foretell(known.to_text())
        read = profile.Profile.of(SIZE, profile.UNIT, [
            number * 64 + area for number in BOOT for area in range(9)])
        for _time in range(2):
            agentrecorder.judge(ONE, read)
            self.assertEqual(
                hostprofiles.Recorded(read.to_text(), known.digest),
                hostprofiles.recorded.read(ONE))
        # once it is foretold it is not told again
        self.foretell(read.to_text())
        hostprofiles.recorded.remove(ONE)
        agentrecorder.judge(ONE, read)
        agentrecorder.judge(ONE, known)
        self.assertIsNone(hostprofiles.recorded.read(ONE))

    def test_profile_of_everything_foretells_nothing(self):
        read = profile.Profile.of(9000 * MIB, MIB, range(0, 200, 4))
        everything = profile.Profile.parse('v2 40 0+1000', 9000 * MIB)
        self.assertEqual(1.0, everything.share(read))
        self.assertFalse(everything.matches(read))

    def test_first_recorded_here_is_told(self):
        first, text = self.judge(BOOT)
        self.assertEqual((first, text),
                         (self.judge(BOOT[5:] + [99])[0], text))
        other, new = self.judge(range(60, 90))
        self.assertEqual(hostprofiles.Recorded(new), other)
