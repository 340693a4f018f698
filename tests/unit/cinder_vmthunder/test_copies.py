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

from unittest import mock

from cinder import exception as cinder_exception
from cinder.volume.drivers import lvm

from cinder_vmthunder import exception
from tests.unit.cinder_vmthunder import fakes
from tests.unit.cinder_vmthunder import test_driver
from tests.unit.cinder_vmthunder import test_images

A = fakes.connector('a')


class CopyTest(test_driver.DriverTestCase):

    def setUp(self):
        super().setUp()
        self.volume, self.other = fakes.Volume(), fakes.Volume(fakes.OTHER)
        self.create(self.volume)
        self.snapshot = test_driver.Snapshot(self.volume)

    def diff(self, name):
        return self.driver._diff(name)

    def commands(self, name):
        return [command for command in self.lvm.commands
                if command[0] == name]

    def test_snapshot(self):
        self.driver.create_snapshot(self.snapshot)
        self.assertEqual(f'vg/{self.volume.name}',
                         self.commands('lvcreate')[-1][-1])
        self.assertEqual(self.template().id,
                         self.diff('_snapshot-s').template_id)
        self.driver.delete_snapshot(self.snapshot)
        self.assertIsNone(self.diff('_snapshot-s'))

    def test_snapshot_and_copies_keep_the_template(self):
        self.driver = self.make(retention=0)
        self.driver.create_snapshot(self.snapshot)
        self.driver.create_volume_from_snapshot(self.other, self.snapshot)
        self.driver.delete_volume(self.volume)
        self.assertTrue(self.template().ready)
        self.driver.delete_snapshot(self.snapshot)
        self.assertTrue(self.template().ready)
        self.driver.delete_volume(self.other)
        self.assertEqual({}, self.lvm.volumes)

    def test_volume_from_snapshot(self):
        self.driver.create_snapshot(self.snapshot)
        self.other.size = 4
        self.driver.create_volume_from_snapshot(self.other, self.snapshot)
        self.assertEqual('vg/_snapshot-s', self.commands('lvcreate')[-1][-1])
        self.assertEqual(4 << 30, self.diff(self.other.name).volume_size)

    def test_clone(self):
        self.other.size = 3
        self.assertIsNone(self.driver.create_cloned_volume(self.other,
                                                           self.volume))
        self.assertEqual(f'vg/{self.volume.name}',
                         self.commands('lvcreate')[-1][-1])
        self.assertEqual(3 << 30, self.diff(self.other.name).volume_size)

    def test_copies_cannot_be_multiattach(self):
        self.driver.create_snapshot(self.snapshot)
        self.other.multiattach = True
        for function, source in (
                (self.driver.create_cloned_volume, self.volume),
                (self.driver.create_volume_from_snapshot, self.snapshot)):
            self.assertRaises(exception.MultiattachRefused, function,
                              self.other, source)
        self.assertIsNone(self.diff(self.other.name))

    def test_revert(self):
        self.driver.create_snapshot(self.snapshot)
        self.driver.extend_volume(self.volume, 5)
        self.attach(self.volume, A)
        self.volume.attach()
        self.driver.revert_to_snapshot('context', self.volume, self.snapshot)
        self.assertEqual('vg/_snapshot-s', self.commands('lvcreate')[-1][-1])
        self.assertEqual(5 << 30, self.diff(self.volume.name).volume_size)
        self.assertEqual({}, self.lio.targets)
        self.assertEqual(3, len(self.lvm.volumes))

    def test_extend(self):
        self.driver.extend_volume(self.volume, 7)
        self.assertEqual(7 << 30, self.diff(self.volume.name).volume_size)

    def reimage(self, **meta):
        service = mock.Mock()
        service.show.return_value = {**test_images.META, **meta}
        self.driver.copy_image_to_volume('context', self.volume, service,
                                         'image')

    def test_reimage(self):
        old = self.template()
        self.driver = self.make(retention=0)
        self.reimage(os_hash_value='other')
        self.assertNotEqual(old.id, self.template().id)
        self.assertEqual(self.template().id,
                         self.diff(self.volume.name).template_id)
        self.assertEqual(2, len(self.lvm.volumes))

    def test_reimage_with_what_cannot_be_shared(self):
        with mock.patch.object(lvm.LVMVolumeDriver,
                               'copy_image_to_volume') as base:
            self.reimage(os_hash_value=None, checksum=None)
        base.assert_called_once()
        self.assertEqual([2 << 30, 'w', []],
                         self.lvm.volumes[self.volume.name])


class MoveTest(test_driver.DriverTestCase):

    def setUp(self):
        super().setUp()
        self.volume = fakes.Volume()
        self.create(self.volume)

    def test_migrate_is_left_to_cinder(self):
        self.assertEqual((False, None), self.driver.migrate_volume(
            'context', self.volume, {'capabilities': {}}))

    def test_retype(self):
        for specs, done in (({}, True), ({'multiattach': '<is> True'},
                                         False)):
            self.assertEqual(done, self.driver.retype(
                'context', self.volume, {'extra_specs': specs}, {}, 'host'))

    def size(self, name):
        return self.driver.manage_existing_get_size(
            fakes.Volume(), {'source-name': name})

    def test_manage(self):
        self.driver.create_snapshot(test_driver.Snapshot(self.volume))
        self.assertEqual(2, self.size(self.volume.name))
        self.assertEqual(2, self.driver.manage_existing_snapshot_get_size(
            'snapshot', {'source-name': '_snapshot-s'}))

    def test_manage_what_is_no_volume(self):
        group, diff = (self.driver._group,
                       self.driver._diff(self.volume.name))
        self.driver._diffs.copy(diff, 'view-1', 2 << 30)
        self.driver._diffs.copy(diff, 'replacement-x', 2 << 30)
        group.snapshot(self.template().name, 'origin-x', {'origin': 'x'})
        for name in (self.template().name, 'view-1', 'replacement-x',
                     'origin-x'):
            self.assertRaises(
                cinder_exception.ManageExistingInvalidReference,
                self.size, name)

    def test_manage_plain(self):
        with mock.patch.object(
                lvm.LVMVolumeDriver, 'manage_existing_object_get_size',
                return_value=5):
            for reference in ({'source-name': 'plain'}, {}):
                self.assertEqual(5, self.driver.manage_existing_get_size(
                    fakes.Volume(), reference))

    def test_manageable(self):
        self.driver.create_snapshot(test_driver.Snapshot(self.volume))
        wanted = {self.template().name: (False, 3),
                  self.volume.name: (True, 2), '_snapshot-s': (False, 2),
                  'plain': (True, 3)}
        entries = [{'reference': {'source-name': name}, 'size': 3,
                    'safe_to_manage': True, 'reason_not_safe': None}
                   for name in wanted]
        with mock.patch.object(
                lvm.LVMVolumeDriver, '_get_manageable_resource_info',
                return_value=entries):
            found = self.driver.get_manageable_volumes([], None, 9, 0, [], [])
        self.assertEqual(
            wanted, {entry['reference']['source-name']:
                     (entry['safe_to_manage'], entry['size'])
                     for entry in found})
