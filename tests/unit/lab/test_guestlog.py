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


import testtools

from tests.lab import guestlog

BOOTED = (
    '\x1b[2J=== diary begins\r\nboot by S 1\r\n'
    '=== diary ends, userland intact\r\n=== server abc\r\n'
    '=== beat 1, 2048 sectors, data intact\r\n'
    '=== beat 2, 4096 sectors, data intact\r\n')


class GuestLogTestCase(testtools.TestCase):

    def test_nothing_yet(self):
        self.assertEqual(guestlog.Guest(), guestlog.read('SeaBIOS\r\n'))

    def test_serving(self):
        self.assertEqual(
            guestlog.Guest(('boot by S 1',), True, 'abc', 2, True, 4096 * 512),
            guestlog.read(BOOTED + '=== beat 3, 40'))

    def test_reboot_within_one_console(self):
        again = BOOTED[:BOOTED.index('=== server')].replace(
            'S 1\r\n', 'S 1\r\nboot by S 2\r\n')
        self.assertEqual(
            guestlog.Guest(('boot by S 1', 'boot by S 2'), True),
            guestlog.read(BOOTED + again))

    def test_damage(self):
        console = BOOTED.replace('userland intact', 'userland damaged')
        self.assertFalse(guestlog.read(console).intact)

    def test_one_bad_beat(self):
        console = BOOTED.replace('1, 2048 sectors, data intact',
                                 '1, 2048 sectors, data unwritable')
        self.assertFalse(guestlog.read(console).healthy)
