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

from cinder_vmthunder import seen
from cinder_vmthunder import volumegroup


class SeenTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.identities = {'lv': 'LVM-1'}
        group = mock.Mock(identity=self.identities.get)
        self.seen = seen.Seen(group)

    def test_same_lv(self):
        self.assertIsNone(self.seen.get('lv'))
        self.seen.put('lv', 'it')
        self.assertEqual('it', self.seen.get('lv'))
        self.assertIsNone(self.seen.get('other'))

    def test_another_lv_by_that_name(self):
        self.seen.put('lv', 'it')
        self.identities['lv'] = 'LVM-2'
        self.assertIsNone(self.seen.get('lv'))
        self.seen.put('lv', 'that')
        self.assertEqual('that', self.seen.get('lv'))

    def test_without_device_nothing_is_sure(self):
        self.seen.put('lv', 'it')
        del self.identities['lv']
        self.assertIsNone(self.seen.get('lv'))
        self.seen.put('lv', 'that')
        self.identities['lv'] = 'LVM-1'
        self.assertEqual('it', self.seen.get('lv'))

    def test_forget(self):
        self.seen.put('lv', 'it')
        self.seen.forget('lv')
        self.seen.forget('other')
        self.assertIsNone(self.seen.get('lv'))


class IdentityTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.group = volumegroup.VolumeGroup('vg', mock.Mock())

    @mock.patch.object(volumegroup, 'sysfs')
    def test_is_the_kernels(self, sysfs):
        sysfs.kernel_name.return_value = 'dm-3'
        sysfs.attribute.return_value = 'LVM-1'
        self.assertEqual('LVM-1', self.group.identity('lv'))
        sysfs.kernel_name.assert_called_once_with('/dev/vg/lv')
        sysfs.attribute.assert_called_once_with('dm-3', 'dm', 'uuid')

    def test_no_device(self):
        self.assertIsNone(self.group.identity('lv'))
