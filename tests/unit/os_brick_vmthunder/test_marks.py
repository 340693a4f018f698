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

from os_brick_vmthunder import marks
from os_brick_vmthunder import privileged

ID = 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee'


class MarksTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        privileged.default.set_client_mode(False)
        self.addCleanup(privileged.default.set_client_mode, True)
        root = tempfile.TemporaryDirectory()
        self.addCleanup(root.cleanup)
        self.directory = f'{root.name}/vmthunder'
        self.now = 500.0
        for name, value in (('_DIRECTORY', self.directory),
                            ('_now', lambda: self.now)):
            patch = mock.patch.object(marks, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def test_mark(self):
        self.assertIsNone(marks.age(ID))
        marks.remove(ID)
        marks.add(ID)
        self.now += 30
        marks.add(ID)  # doesn't make it younger
        self.assertEqual(30, marks.age(ID))
        self.assertIsNone(marks.age(ID.replace('a', 'b')))
        marks.remove(ID)
        self.assertIsNone(marks.age(ID))

    def test_killed_over_it(self):
        marks.add(ID)
        with open(f'{self.directory}/unused-{ID}', 'w'):
            pass
        self.assertIsNone(marks.age(ID))
        marks.add(ID)
        self.assertEqual(0, marks.age(ID))
