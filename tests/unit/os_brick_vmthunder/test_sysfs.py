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

import os
import stat
import tempfile
import unittest
from unittest import mock

from os_brick_vmthunder import sysfs


class SysfsTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = directory.name
        for name in ('_BLOCK', '_NUMBERS'):
            patch = mock.patch.object(sysfs, name, self.root)
            patch.start()
            self.addCleanup(patch.stop)
        os.makedirs(f'{self.root}/dm-3/holders/dm-4')
        with open(f'{self.root}/dm-3/size', 'w') as file:
            file.write('16\n')
        os.symlink('dm-3', f'{self.root}/253:3')
        os.symlink('../../bcache0', f'{self.root}/dm-3/dev')

    def device(self, mode=stat.S_IFBLK):
        return mock.patch('os.stat', return_value=mock.Mock(
            st_mode=mode, st_rdev=os.makedev(253, 3)))

    def test_number(self):
        with self.device():
            self.assertEqual('253:3', sysfs.number('/dev/x'))
            self.assertTrue(sysfs.has_node('/dev/x'))
        with self.device(stat.S_IFREG):
            self.assertRaises(OSError, sysfs.number, '/dev/x')
            self.assertFalse(sysfs.has_node('/dev/x'))

    def test_names(self):
        with self.device():
            self.assertEqual(f'{self.root}/253:3', sysfs.directory('/dev/x'))
            self.assertEqual(8192, sysfs.size('/dev/x'))
        with mock.patch.object(sysfs, 'number', return_value='253:3'):
            self.assertEqual('dm-3', sysfs.kernel_name('/dev/x'))
        self.assertEqual(['dm-3'], list(sysfs.names('dm-')))

    def test_attributes(self):
        self.assertEqual('16', sysfs.attribute('dm-3', 'size'))
        self.assertIsNone(sysfs.attribute('dm-3', 'dm', 'name'))
        self.assertEqual(['dm-4'], sysfs.listing('dm-3', 'holders'))
        self.assertEqual([], sysfs.listing('dm-9', 'holders'))
        self.assertTrue(sysfs.exists('dm-3', 'holders'))
        self.assertFalse(sysfs.exists('dm-3', 'bcache'))
        self.assertEqual('bcache0', sysfs.link('dm-3', 'dev'))
        self.assertIsNone(sysfs.link('dm-3', 'set'))

    def test_read_bytes(self):
        with open(f'{self.root}/dm-3/stat', 'w') as file:
            file.write('  7 0 3 1 2 3 4 5 6 7 8\n')
        self.assertEqual((3 * 512, 0), (
            sysfs.read_bytes('dm-3'), sysfs.read_bytes('gone')))

    def test_wait(self):
        answers = iter([False, False, True])
        self.assertTrue(sysfs.wait(lambda: next(answers)))
        self.assertFalse(sysfs.wait(lambda: False, 0.01))
