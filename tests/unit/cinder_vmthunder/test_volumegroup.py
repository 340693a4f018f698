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

"""Tests of LVs and tags."""

import unittest
from unittest import mock

from cinder_vmthunder import exception
from cinder_vmthunder import volumegroup
from tests.unit.cinder_vmthunder import fakes


class VolumeGroupTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.lvm = fakes.LVM()
        self.group = volumegroup.VolumeGroup('vg', self.lvm)

    def test_create_and_get(self):
        self.group.create('one', 8 << 20, {'state': 'ready', 'drop': ''})
        self.lvm.volumes['one'][2].append('somebody-elses')
        self.lvm.used['one'] = 2 << 20
        self.assertEqual(
            volumegroup.LogicalVolume('one', 8 << 20, False, False, 0.25,
                                      {'state': 'ready', 'drop': ''}),
            self.group.get('one'))
        self.assertEqual(1, self.lvm.count('lvcreate'))

    def test_get_missing(self):
        self.assertIsNone(self.group.get('one'))

    def test_get_fails(self):
        self.lvm.fail['lvs'] = 'Volume group "vg" not found'
        error = self.assertRaises(exception.VolumeGroupFailed,
                                  self.group.get, 'one')
        self.assertIn('vg/one', error.msg)
        self.assertIn('not found', error.msg)

    def assertRaises(self, kind, *args):
        with super().assertRaises(kind) as caught:
            args[0](*args[1:])
        return caught.exception

    def test_volumes_by_one_command(self):
        self.group.create('one', 8 << 20, {})
        self.group.create('two', 8 << 20, {})
        self.lvm.commands.clear()
        volumes = self.group.volumes()
        self.assertEqual(['vg-pool', 'one', 'two'],
                         [volume.name for volume in volumes])
        self.assertEqual([True, False, False],
                         [volume.is_pool for volume in volumes])
        self.assertEqual(1, len(self.lvm.commands))

    def test_facts_of_the_group_are_asked_for_once(self):
        self.assertEqual(('vg-uuid', fakes.EXTENT),
                         (self.group.uuid, self.group.extent_size))
        self.assertEqual('vg-uuid', self.group.uuid)
        self.assertEqual(1, self.lvm.count('lvs'))

    def test_pool_among(self):
        self.group.create('one', 8 << 20, {})
        pool, one = self.group.volumes()
        self.assertIs(pool, self.group.pool_among([one, pool]))
        error = self.assertRaises(exception.VolumeGroupFailed,
                                  self.group.pool_among, [one])
        self.assertIn('could not find vg/vg-pool', error.msg)

    def test_free_space(self):
        self.lvm.used['x'] = 4 << 30
        self.assertAlmostEqual(6 << 30, self.group.free_space(), delta=1024)

    def test_tags_change_in_one_command(self):
        self.group.create('one', 8 << 20, {'state': 'importing'})
        self.lvm.commands.clear()
        self.group.tag('one', {'state': 'ready'}, {'state': 'importing'})
        self.assertEqual({'state': 'ready'}, self.group.get('one').tags)
        self.assertEqual(1, self.lvm.count('lvchange'))

    def test_read_only(self):
        self.group.create('one', 8 << 20, {})
        self.group.set_read_only('one')
        self.assertTrue(self.group.get('one').read_only)

    def test_activate_only_what_has_no_device(self):
        self.group.create('one', 8 << 20, {})
        with mock.patch('os.path.exists', return_value=True):
            self.assertEqual('/dev/vg/one', self.group.activate('one'))
        self.assertEqual(0, self.lvm.count('lvchange'))
        self.group.activate('one')
        self.assertEqual(1, self.lvm.count('lvchange'))

    def test_delete_twice(self):
        self.group.create('one', 8 << 20, {})
        self.group.create('two', 8 << 20, {})
        self.group.create('three', 8 << 20, {})
        self.group.delete('one')
        self.group.delete('one', 'two')
        self.assertEqual(['three'], list(self.lvm.volumes))
        self.assertEqual(2, self.lvm.count('lvremove'))

    def test_snapshot(self):
        self.group.create('one', 8 << 20, {'state': 'ready'})
        self.group.snapshot('one', 'two', {'view': ''})
        self.group.snapshot('one', 'three', {}, read_only=True)
        self.assertEqual(
            [(8 << 20, False, {'view': ''}), (8 << 20, True, {})],
            [(found.size, found.read_only, found.tags) for found in
             map(self.group.get, ('two', 'three'))])

    def test_extend_never_shrinks(self):
        self.group.create('one', 8 << 20, {})
        for size in (10 << 20, 12 << 20, 4 << 20):
            self.group.extend('one', size)
        self.assertEqual(12 << 20, self.group.get('one').size)

    def test_extend_by_one_command(self):
        self.group.create('one', 8 << 20, {})
        self.lvm.commands.clear()
        self.group.extend('one', 12 << 20)
        self.assertEqual(1, len(self.lvm.commands))

    def test_extend_missing(self):
        error = self.assertRaises(exception.VolumeGroupFailed,
                                  self.group.extend, 'one', 1 << 20)
        self.assertIn('Failed to find', error.msg)

    def test_rename(self):
        self.group.create('one', 8 << 20, {})
        with mock.patch('cinder.privsep.lvm.lvrename', self.lvm.lvrename):
            self.group.rename('one', 'two')
        self.assertEqual(['two'], list(self.lvm.volumes))

    def test_rename_fails(self):
        with mock.patch('cinder.privsep.lvm.lvrename', side_effect=OSError(
                'no')):
            error = self.assertRaises(exception.VolumeGroupFailed,
                                      self.group.rename, 'one', 'two')
        self.assertIn('could not rename one', error.msg)

    def test_zeroes(self):
        self.assertTrue(self.group.zeroes)
        self.lvm.pool_attributes = 'twi-aot---'
        self.assertFalse(self.group.zeroes)

    def test_delete_fails(self):
        self.group.create('one', 8 << 20, {})
        self.lvm.fail['lvremove'] = 'Logical volume vg/one in use.'
        error = self.assertRaises(exception.VolumeGroupFailed,
                                  self.group.delete, 'one')
        self.assertIn('in use', error.msg)

    def test_commands_run_as_cinders_own(self):
        with mock.patch('cinder.utils.execute') as execute:
            volumegroup.as_root('env', 'LC_ALL=C', 'lvcreate', 'lvs')
        execute.assert_called_once_with('env', 'LC_ALL=C', 'lvcreate', 'lvs',
                                        run_as_root=True)

    def test_reports_take_no_rootwrap(self):
        with mock.patch('cinder.utils.execute') as execute, \
                mock.patch('os_brick_vmthunder.privileged.lvm.lvs') as lvs:
            self.assertIs(lvs.return_value, volumegroup.as_root(
                'env', 'LC_ALL=C', 'LVM_SYSTEM_DIR=/etc/cinder', 'lvs', '-o',
                'lv_name', 'vg'))
        execute.assert_not_called()
        lvs.assert_called_once_with(
            {'LC_ALL': 'C', 'LVM_SYSTEM_DIR': '/etc/cinder'}, '-o',
            'lv_name', 'vg')
