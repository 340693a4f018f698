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

from os_brick_vmthunder import stack
from tests.unit.os_brick_vmthunder import test_connection

CACHED = '/dev/bcache7'


class HostStackTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.template = test_connection.make().template
        self.calls = mock.Mock()
        self.calls.cache.device.return_value = None
        self.calls.cache.attach.return_value = CACHED
        self.calls.paths.connect.return_value = '/dev/dm-2'
        self.stack = stack.HostStack(self.template, self.calls.paths,
                                     self.calls.cache)
        self.complete = self._patch(stack.lun_paths, 'complete')
        self.holders = self._patch(stack.devicemapper, 'holders')

    def _patch(self, module, name):
        patch = mock.patch.object(module, name)
        self.addCleanup(patch.stop)
        return patch.start()

    def test_first_volume_builds_it(self):
        self.assertEqual(CACHED, self.stack.build())
        self.calls.cache.attach.assert_called_once_with(
            self.template.id, '/dev/dm-2', self.template.size)

    def test_next_volume_finds_it(self):
        self.calls.cache.device.return_value = CACHED
        self.assertEqual(CACHED, self.stack.build())
        self.calls.paths.connect.assert_not_called()

    def test_lost_paths_are_brought_back(self):
        self.calls.cache.device.return_value = CACHED
        self.complete.return_value = False
        self.assertEqual(CACHED, self.stack.build())
        self.calls.paths.connect.assert_called_once_with(self.template)

    def test_stays_while_a_volume_stands_on_it(self):
        self.calls.cache.device.return_value = CACHED
        self.holders.return_value = ['vmthunder-x-origin']
        self.stack.release()
        self.calls.cache.detach.assert_not_called()
        self.calls.paths.disconnect.assert_not_called()

    def test_goes_from_the_top_with_the_last(self):
        self.calls.cache.device.return_value = CACHED
        self.holders.return_value = []
        self.stack.release(force=True)
        self.assertEqual(
            [mock.call.cache.device(self.template.id),
             mock.call.cache.detach(self.template.id),
             mock.call.paths.disconnect(self.template, True)],
            self.calls.mock_calls)

    def test_a_part_of_it_goes_too(self):
        self.stack.release()
        self.calls.cache.detach.assert_called_once_with(self.template.id)
        self.calls.paths.disconnect.assert_called_once_with(
            self.template, False)
        self.holders.assert_not_called()
