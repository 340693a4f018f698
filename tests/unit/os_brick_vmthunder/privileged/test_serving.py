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
import shutil
import tempfile
import unittest
from unittest import mock

from os_brick_vmthunder import privileged
from os_brick_vmthunder.privileged import serving

IQN = 'iqn.2010-10.org.openstack:template-1'


class ServingTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, root)
        for target, name, new in (
                (serving, '_GROUP', root + '/%s'),
                (privileged.default, 'client_mode', False)):
            patch = mock.patch.object(target, name, new)
            patch.start()
            self.addCleanup(patch.stop)
        self.group = f'{root}/{IQN}'
        os.makedirs(f'{self.group}/np/10.0.0.1:3260')
        os.makedirs(f'{self.group}/lun/lun_0')
        os.symlink('/x', f'{self.group}/lun/lun_0/abc')
        self.set('1\n')

    def set(self, text):
        with open(f'{self.group}/enable', 'w') as file:
            file.write(text)

    def test_read(self):
        self.assertIs(True, serving.read(IQN))
        self.set('0\n')
        self.assertIs(False, serving.read(IQN))

    def test_write(self):
        serving.write(IQN, False)
        self.assertIs(False, serving.read(IQN))
        serving.write(IQN, True)
        self.assertIs(True, serving.read(IQN))

    def test_missing(self):
        self.assertIsNone(serving.read('iqn.2000-01.x:y'))
        with self.assertRaises(OSError):
            serving.write('iqn.2000-01.x:y', True)

    def test_incomplete(self):
        os.unlink(f'{self.group}/lun/lun_0/abc')
        self.assertIsNone(serving.read(IQN))
        os.symlink('/x', f'{self.group}/lun/lun_0/abc')
        os.rmdir(f'{self.group}/np/10.0.0.1:3260')
        self.assertIsNone(serving.read(IQN))
