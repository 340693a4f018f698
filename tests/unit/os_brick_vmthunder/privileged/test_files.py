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

from os_brick_vmthunder import privileged
from os_brick_vmthunder.privileged import files


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


class FilesTest(unittest.TestCase):
    """In a process without a umask, as oslo.privsep's is."""

    def setUp(self):
        super().setUp()
        privileged.default.set_client_mode(False)
        self.addCleanup(privileged.default.set_client_mode, True)
        root = tempfile.TemporaryDirectory()
        self.addCleanup(root.cleanup)
        self.addCleanup(os.umask, os.umask(0))
        self.above = os.path.join(root.name, 'above')
        self.directory = os.path.join(self.above, 'directory')
        self.path = os.path.join(self.directory, 'file')

    def test_only_root_writes(self):
        files.write(self.path, 'text')
        self.assertEqual([0o755, 0o755, 0o644], [
            mode(self.above), mode(self.directory), mode(self.path)])

    def test_write(self):
        for text in ('longer', 'text'):
            files.write(self.path, text)
            with open(self.path) as file:
                self.assertEqual(text, file.read())

    def test_directory_that_is_there_stays(self):
        os.mkdir(self.above, 0o700)
        files.make_directory(self.directory)
        files.make_directory(self.directory)
        self.assertEqual([0o700, 0o755],
                         [mode(self.above), mode(self.directory)])

    def test_directory_that_another_makes_just_now(self):
        with mock.patch.object(os, 'mkdir', side_effect=FileExistsError):
            files.make_directory(self.above)

    def test_look(self):
        self.assertEqual([], files.listing(self.directory))
        self.assertFalse(files.exists(self.path))
        files.write(self.path, '')
        self.assertTrue(files.exists(self.path))
        self.assertEqual(['file'], files.listing(self.directory))

    def test_remove(self):
        files.write(self.path, '')
        files.remove(self.path)
        files.remove(self.path)
        self.assertEqual([], files.listing(self.directory))

    def test_free_space(self):
        status = mock.Mock(f_bavail=3, f_frsize=4096)
        with mock.patch.object(os, 'statvfs', return_value=status) as asked:
            self.assertEqual(3 * 4096, files.free_space(self.path))
        # of what is there so far
        asked.assert_called_once_with(os.path.dirname(self.above))
