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

from demo import results
from demo import vm

CONSOLE = ('\x1bc\x1b[?7lSeaBIOS\r\nINIT: version 3.06 booting\r\n'
           '\x1b[2J=== diary begins\r\nboot by A@one 1\r\n'
           'boot by A@two 2\r\n=== diary ends, userland intact\r\n'
           '[   12.16] reboot: Power down\r\n')


class VMTest(unittest.TestCase):

    def test_parse(self):
        self.assertEqual((('boot by A@one 1', 'boot by A@two 2'), True),
                         vm.parse('A@two', CONSOLE))

    def test_parse_damaged(self):
        self.assertFalse(
            vm.parse('A', CONSOLE.replace('intact', 'damaged'))[1])

    def test_parse_without_diary(self):
        for marker in ('begins', 'ends'):
            with self.assertRaisesRegex(vm.VMFailed, 'Power down'):
                vm.parse('A', CONSOLE.replace(f'diary {marker}', 'other'))

    def test_run(self):
        host = mock.Mock()
        host.run.return_value.stdout = CONSOLE
        boot = vm.run(host, '/dev/mapper/x', 'A@two')
        self.assertEqual(('boot by A@one 1', 'boot by A@two 2'), boot.diary)
        command = host.run.call_args.args
        self.assertIn('type=1,serial=A@two', command)
        self.assertTrue(any(word.startswith('file=/dev/mapper/x,format=raw')
                            and 'cache=none' in word for word in command))
        self.assertEqual('A@two', results.vm_name('A', 'two'))
