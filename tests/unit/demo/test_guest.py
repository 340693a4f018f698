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


import time
import unittest
from unittest import mock

from demo import guest

DIARY = ('=== diary begins\r\nboot by x 1\r\n'
         '=== diary ends, userland intact\r\n')


class GuestTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        patch = mock.patch.object(time, 'sleep')
        patch.start()
        self.addCleanup(patch.stop)
        self.servers = mock.Mock()

    def wait(self, *consoles, timeout=60):
        self.servers.console.side_effect = consoles
        return guest.wait(self.servers, 'x', lambda said: said.diary, timeout)

    def test_enough_at_last(self):
        said = self.wait('', 'SeaBIOS\r\n', DIARY)
        self.assertEqual(('boot by x 1',), said.diary)
        self.servers.console.assert_called_with('x')

    def test_never_enough(self):
        with self.assertRaisesRegex(guest.GuestFailed, 'x said .*\n.*Panic'):
            self.wait('Kernel Panic\r\n', timeout=-1)
