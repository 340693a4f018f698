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

from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder import modes
from tests.unit.os_brick_vmthunder import test_connection

DM, VMM = connection.SnapshotMode


class ModesTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        patch = mock.patch.object(modes, '_offered', {DM})
        patch.start()
        self.addCleanup(patch.stop)

    def test_overlays_are_for_who_says_so(self):
        volume = test_connection.make(mode=VMM)
        self.assertEqual((DM,), modes.offered())
        with self.assertRaisesRegex(exception.ModeNotOffered,
                                    f'{volume.volume_id} is in .* vmm'):
            modes.check(volume)
        modes.check(test_connection.make())
        for _twice in range(2):
            modes.offer(VMM)
            self.assertEqual((DM, VMM), modes.offered())
            modes.check(volume)
