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

import tempfile
import unittest
from unittest import mock

import ddt

from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder import privileged
from os_brick_vmthunder import profile

ONE = 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee'
OTHER = 'bbbbbbbb-bbbb-5ccc-8ddd-eeeeeeeeeeee'
MIB = profile.MIB
WHAT = hostprofiles.Foretold(50 * MIB, 'v2 40 5+5 0')


def use(test):
    """Let a test have files of its own; return their directory."""
    privileged.default.set_client_mode(False)
    test.addCleanup(privileged.default.set_client_mode, True)
    root = tempfile.TemporaryDirectory()
    test.addCleanup(root.cleanup)
    directory = f'{root.name}/vmthunder'
    patch = mock.patch.object(hostprofiles, '_DIRECTORY', directory)
    patch.start()
    test.addCleanup(patch.stop)
    return directory


@ddt.ddt
class HostProfilesTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.directory = use(self)

    def test_each_kind(self):
        for kind, what in (
                (hostprofiles.foretold, WHAT),
                (hostprofiles.recorded, hostprofiles.Recorded('v2 40 3')),
                (hostprofiles.progress, hostprofiles.Progress(
                    'all', 'abc', MIB, 5, 1, 4))):
            self.assertIsNone(kind.read(ONE))
            self.assertEqual([], list(kind.all()))
            kind.remove(ONE)
            kind.write(ONE, what)
            kind.write(OTHER, what)
            self.assertEqual(what, kind.read(ONE))
            self.assertEqual([(ONE, what), (OTHER, what)],
                             list(kind.all()))
            kind.remove(ONE)
            self.assertEqual([(OTHER, what)], list(kind.all()))

    @ddt.data('', '{', '[]', '7', '{"size": 5, "later": 1}', '{}', 'null')
    def test_garbage_counts_as_nothing(self, text):
        hostprofiles.foretold.write(ONE, WHAT)
        with open(f'{self.directory}/foretold-{ONE}', 'w') as file:
            file.write(text)
        with open(f'{self.directory}/foretold-x', 'w') as file:
            file.write('{"size": 512}')
        self.assertIsNone(hostprofiles.foretold.read(ONE))
        self.assertEqual([], list(hostprofiles.foretold.all()))

    def test_profile(self):
        self.assertEqual(profile.Profile.of(50 * MIB, MIB, [*range(5, 10), 0]),
                         WHAT.profile)
        self.assertEqual((), hostprofiles.Foretold(512).profile.pieces)

    def test_no_progress_is_left_of_what_went(self):
        there = hostprofiles.Progress('all', 'abc', MIB)
        hostprofiles.foretold.write(ONE, WHAT)
        hostprofiles.note_progress(ONE, there)
        self.assertEqual(there, hostprofiles.progress.read(ONE))
        hostprofiles.forget(ONE)
        hostprofiles.note_progress(ONE, there)
        self.assertIsNone(hostprofiles.progress.read(ONE))

    def test_what_cinder_has_heard_is_forgotten(self):
        texts = {ONE: 'v2 40 3', OTHER: 'v2 40 4'}
        for template_id, text in texts.items():
            hostprofiles.recorded.write(template_id,
                                        hostprofiles.Recorded(text))
        self.assertEqual([ONE, OTHER], sorted(
            template_id for template_id, _what in hostprofiles.unheard()))
        hostprofiles.settle(('x', profile.digest('v2 40 4')))
        self.assertEqual([(ONE, hostprofiles.Recorded('v2 40 3'))],
                         hostprofiles.unheard())

    def test_announces_few_at_once(self):
        for number in range(9):
            hostprofiles.recorded.write(
                f'{number}{ONE[1:]}', hostprofiles.Recorded('v2 40 3'))
        seen = {what for _time in range(99)
                for what, _text in hostprofiles.unheard()}
        self.assertEqual(9, len(seen))
        self.assertEqual(2, len(hostprofiles.unheard()))
