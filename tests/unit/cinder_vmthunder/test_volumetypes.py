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

import ddt

from cinder_vmthunder import exception
from cinder_vmthunder import volumetypes
from os_brick_vmthunder import connection
from tests.unit.cinder_vmthunder import fakes

DM, VMM = connection.SnapshotMode


@ddt.ddt
class SnapshotModeTest(unittest.TestCase):

    @ddt.data(({}, DM), ({'vmthunder:snapshot_mode': 'dm'}, DM),
              ({'vmthunder:snapshot_mode': 'vmm'}, VMM))
    @ddt.unpack
    def test_chosen(self, specs, mode):
        self.assertEqual(mode, volumetypes.snapshot_mode(specs))

    @ddt.data('', 'VMM', 'qcow2')
    def test_wrong_value_is_named(self, value):
        with self.assertRaises(exception.InvalidSnapshotMode) as caught:
            volumetypes.snapshot_mode({'vmthunder:snapshot_mode': value})
        for word in 'vmthunder:snapshot_mode', repr(value), 'dm, vmm':
            self.assertIn(word, caught.exception.msg)

    def test_of_a_volume(self):
        with mock.patch('cinder.volume.volume_types.'
                        'get_volume_type_extra_specs',
                        {'t': {'vmthunder:snapshot_mode': 'vmm'}}.get):
            self.assertEqual(DM, volumetypes.mode_of(fakes.Volume()))
            self.assertEqual(VMM, volumetypes.mode_of(
                fakes.Volume(volume_type_id='t')))
