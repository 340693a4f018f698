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

"""Tests of diffs."""

import dataclasses
import unittest
from unittest import mock

from cinder_vmthunder import diffs
from cinder_vmthunder import exception
from cinder_vmthunder import locks
from cinder_vmthunder import stores
from cinder_vmthunder import volumegroup
from os_brick_vmthunder import exceptionstore
from tests.unit.cinder_vmthunder import fakes

TEMPLATE = 'cccccccc-0000-4000-8000-00000000000c'


class DiffsTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        world = fakes.world()
        self.lvm, _lio = world.__enter__()
        self.addCleanup(world.__exit__, None, None, None)
        self.group = volumegroup.VolumeGroup('vg', self.lvm)
        self.diffs = diffs.Diffs(self.group)
        self.zero = diffs.blockdev.zero

    def create(self, name='volume-1', size=2 << 30):
        diff = diffs.Diff(name, TEMPLATE, 1 << 30, 16, size)
        self.diffs.create(diff)
        return diff

    def names(self):
        return sorted(self.lvm.volumes)

    def test_create_and_get(self):
        diff = self.create()
        self.assertEqual(diff, self.diffs.get('volume-1'))
        size = self.lvm.volumes['volume-1'][0]
        self.assertEqual(0, size % fakes.EXTENT)
        self.assertGreaterEqual(size,
                                exceptionstore.store_size(2 << 30, 8192))
        self.zero.assert_called_once_with('/dev/vg/volume-1', 8192)

    def test_what_was_cut_is_made_again(self):
        self.create()
        self.lvm.volumes['volume-1'][0] = fakes.EXTENT
        self.create()
        self.assertLess(2 << 30, self.lvm.volumes['volume-1'][0])

    def test_a_plain_volume_is_not_overwritten(self):
        self.group.create('volume-1', fakes.EXTENT, {})
        self.assertRaises(exception.VolumeGroupFailed, self.create)
        self.assertRaises(exception.VolumeGroupFailed, self.diffs.copy,
                          self.create('volume-2'), 'volume-1', 2 << 30)
        self.assertEqual(fakes.EXTENT, self.lvm.volumes['volume-1'][0])

    def test_plain_and_missing(self):
        self.group.create('volume-2', fakes.EXTENT, {})
        self.assertIsNone(self.diffs.get('volume-2'))
        self.assertIsNone(self.diffs.get('volume-1'))

    def test_copy(self):
        diff = self.create()
        copy = self.diffs.copy(diff, 'volume-2', 2 << 30)
        self.assertEqual(self.diffs.get('volume-2'), copy)
        self.assertEqual(dataclasses.replace(diff, name='volume-2'), copy)
        self.assertEqual(0, self.lvm.count('lvextend'))
        self.zero.assert_called_once()  # or what is copied would be lost

    def test_larger_copy(self):
        copy = self.diffs.copy(self.create(), 'volume-2', 5 << 30)
        self.assertEqual(5 << 30, self.diffs.get('volume-2').volume_size)
        self.assertEqual(5 << 30, copy.volume_size)
        self.assertEqual(2 << 30, self.diffs.get('volume-1').volume_size)

    def test_cut_copy_is_made_again(self):
        diff = self.create()
        self.diffs.copy(diff, 'volume-2', 2 << 30)
        self.diffs.copy(diff, 'volume-2', 5 << 30)
        self.assertEqual(5 << 30, self.diffs.get('volume-2').volume_size)

    def test_extend(self):
        diff = self.create()
        for size in (3, 3, 1):
            self.diffs.extend(diff, size << 30)
        self.assertEqual(3 << 30, self.diffs.get('volume-1').volume_size)

    def test_mend_revives(self):
        diff = self.create()
        with self.assertNoLogs(stores.LOG.logger, 'WARNING'):
            self.assertEqual('/dev/vg/volume-1', self.diffs.mend(diff))
        stores.snapshotheader.make_valid.assert_called_once_with(
            '/dev/vg/volume-1')
        stores.snapshotheader.make_valid.return_value = True
        with self.assertLogs(stores.LOG.logger, 'WARNING'):
            self.diffs.mend(diff)

    def test_errors_of_the_disk_are_cinders(self):
        diff = self.create()
        stores.snapshotheader.make_valid.side_effect = OSError('no space')
        with self.assertRaises(exception.DiffFailed) as caught:
            self.diffs.mend(diff)
        self.assertIn('volume-1 cannot be used: no space',
                      caught.exception.msg)
        self.zero.side_effect = OSError
        self.assertRaises(exception.DiffFailed, self.create, 'volume-2')

    def replacement(self):
        diff = self.create()
        self.diffs.copy(self.create('_snapshot-1', 1 << 30),
                        diffs.replacement('volume-1'), 1 << 30)
        self.diffs.delete(self.diffs.get('_snapshot-1'))
        return diff

    def test_replace(self):
        self.diffs.replace(self.replacement())
        self.assertEqual(['volume-1'], self.names())
        self.assertEqual(1 << 30, self.diffs.get('volume-1').volume_size)

    def test_replace_cut_in_the_middle_is_finished(self):
        diff = self.replacement()
        with mock.patch('cinder.privsep.lvm.lvrename', side_effect=OSError):
            self.assertRaises(exception.VolumeGroupFailed,
                              self.diffs.replace, diff)
        self.assertEqual(['replacement-volume-1'], self.names())
        self.assertEqual(1 << 30, self.diffs.get('volume-1').volume_size)
        self.assertEqual(['volume-1'], self.names())

    def test_replace_by_blank(self):
        diff = self.replacement()
        self.diffs.replace_by_blank(diff)
        self.assertEqual({'volume-1': [2 << 30, 'w', []]}, self.lvm.volumes)
        self.assertIsNone(self.diffs.get('volume-1'))

    def test_leftover_replacement_is_removed(self):
        self.replacement()
        self.diffs.collect(self.group.volumes())
        self.assertEqual(['volume-1'], self.names())

    def test_replacement_is_left_to_who_makes_it(self):
        diff = self.replacement()
        with locks.template_lock(diff.template_id):
            self.diffs.collect(self.group.volumes())
        self.assertEqual(2, len(self.names()))

    def test_replacement_whose_diff_went_meanwhile_is_kept(self):
        diff = self.replacement()
        listed = self.group.volumes()
        self.group.delete(diff.name)
        self.diffs.collect(listed)
        self.assertEqual(['replacement-volume-1'], self.names())

    def test_failure_to_collect_is_only_told(self):
        self.replacement()
        self.lvm.fail['lvremove'] = 'busy'
        with self.assertLogs(diffs.LOG.logger, 'ERROR'):
            self.diffs.collect(self.group.volumes())

    def test_delete(self):
        self.diffs.delete(self.replacement())
        self.assertEqual({}, self.lvm.volumes)
