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

import ddt

from demo import maps
from tests.unit.demo import kernel

WWID = '36001405aaaaaaaabbbb5ccc8dddeeeeeeeeeeee'


@ddt.ddt
class MapsTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.sysfs = kernel.Sysfs(self)
        self.sysfs.disk('sdc', 1, 'diff')
        self.sysfs.device(1, 'other', 'mpath-other', ('sdc',))
        self.sysfs.device(2, 'vmthunder-x', 'VMTHUNDER-volume-x')

    def test_none(self):
        self.assertIsNone(maps.find())

    @ddt.data('template', 'relay')
    def test_found(self, model):
        self.sysfs.disk('sda', 1, model)
        self.sysfs.disk('sdb', 1, 'template')
        self.sysfs.device(3, WWID, f'mpath-{WWID}', ('sda', 'sdb'))
        self.assertEqual(maps.Map('dm-3', WWID, 4096, 23), maps.find())

    def test_half_made(self):
        self.sysfs.disk('sda', 1, 'template')
        self.sysfs.device(3, WWID, f'mpath-{WWID}', ('sda',), sectors=0)
        self.assertIsNone(maps.find())
