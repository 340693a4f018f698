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
import struct
import tempfile
import unittest
from unittest import mock

import ddt

from os_brick_vmthunder import privileged
from os_brick_vmthunder.privileged import snapshotheader

MAGIC = 0x70416e53
REST = os.urandom(8192 - 8)


@ddt.ddt
class MakeValidTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        privileged.default.set_client_mode(False)
        self.addCleanup(privileged.default.set_client_mode, True)
        # not every file system has it
        mock.patch.object(os, 'O_DIRECT', 0).start()
        self.addCleanup(mock.patch.stopall)
        self.file = tempfile.NamedTemporaryFile()
        self.addCleanup(self.file.close)

    def write(self, magic, valid):
        self.file.write(struct.pack('<II', magic, valid) + REST)
        self.file.flush()

    def read(self):
        with open(self.file.name, 'rb') as file:
            return (*struct.unpack('<II', file.read(8)), file.read())

    def test_given_up(self):
        self.write(MAGIC, 0)
        self.assertTrue(snapshotheader.make_valid(self.file.name))
        self.assertEqual((MAGIC, 1, REST), self.read())
        self.assertFalse(snapshotheader.make_valid(self.file.name))

    @ddt.data((MAGIC, 1), (0, 0), (1234, 0))
    @ddt.unpack
    def test_anything_else_is_left_alone(self, magic, valid):
        self.write(magic, valid)
        self.assertFalse(snapshotheader.make_valid(self.file.name))
        self.assertEqual((magic, valid, REST), self.read())

    def test_too_short(self):
        self.assertRaises(OSError, snapshotheader.make_valid, self.file.name)
