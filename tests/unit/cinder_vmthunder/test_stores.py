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

import dataclasses
import unittest
from unittest import mock

from oslo_concurrency import processutils

from cinder_vmthunder import diffs
from cinder_vmthunder import exception
from cinder_vmthunder import stores
from cinder_vmthunder import volumegroup
from os_brick_vmthunder import connection
from os_brick_vmthunder import overlaystore
from tests.unit.cinder_vmthunder import fakes

TEMPLATE = 'cccccccc-0000-4000-8000-00000000000c'
GIB = 1 << 30
DEVICE = '/dev/vg/volume-1'


class OverlayStoreTest(unittest.TestCase):
    """Diffs in vmm mode."""

    def setUp(self):
        super().setUp()
        world = fakes.world()
        self.lvm, _lio = world.__enter__()
        self.addCleanup(world.__exit__, None, None, None)
        self.diffs = diffs.Diffs(volumegroup.VolumeGroup('vg', self.lvm))
        self.diff = diffs.Diff(
            'volume-1', TEMPLATE, GIB, overlaystore.CLUSTER // 512, 2 * GIB,
            connection.SnapshotMode.VMM)
        self.overlays = stores.qcow2

    def create(self):
        self.diffs.create(self.diff)

    def test_new_overlay(self):
        self.overlays.create = mock.Mock()
        calls = mock.Mock()
        calls.attach_mock(self.overlays.create, 'create')
        calls.attach_mock(diffs.blockdev.zero, 'zero')
        calls.attach_mock(stores.blockdev.flush, 'flush')
        self.create()
        self.assertEqual([
            mock.call.zero(DEVICE, overlaystore.CLUSTER),
            mock.call.create(DEVICE, 2 * GIB, f'vmthunder:{TEMPLATE}',
                             overlaystore.OPTIONS),
            mock.call.flush(DEVICE)], calls.mock_calls)
        self.assertEqual(self.diff, self.diffs.get('volume-1'))
        self.assertIn('mode=vmm', self.lvm.tags('volume-1'))
        self.assertLessEqual(
            overlaystore.store_size(2 * GIB, overlaystore.CLUSTER),
            self.lvm.volumes['volume-1'][0])

    def test_mode_of_the_first_release(self):
        self.create()
        self.lvm.volumes['volume-1'][2].remove('vmthunder.mode=vmm')
        self.assertEqual(connection.SnapshotMode.DM,
                         self.diffs.get('volume-1').mode)

    def test_copies_keep_the_mode(self):
        self.create()
        copy = self.diffs.copy(self.diff, 'volume-2', 5 * GIB)
        self.assertEqual(dataclasses.replace(
            self.diff, name='volume-2', volume_size=5 * GIB), copy)
        self.assertEqual(copy, self.diffs.get('volume-2'))

    def test_extension_is_seen_to_when_it_is_used_next(self):
        self.create()
        self.diffs.extend(self.diff, 7 * GIB)
        self.assertEqual({DEVICE: 2 * GIB}, self.overlays.sizes)
        for _twice in range(2):
            self.assertEqual(DEVICE, self.diffs.mend(
                self.diffs.get('volume-1')))
            self.assertEqual({DEVICE: 7 * GIB}, self.overlays.sizes)

    def test_leaks_are_looked_for_where_something_was_written(self):
        self.create()
        self.diffs.mend(self.diff)
        self.assertEqual([], self.overlays.repaired)
        self.overlays.written.add(DEVICE)
        self.diffs.mend(self.diff)
        self.assertEqual([DEVICE], self.overlays.repaired)

    def test_damage_is_told(self):
        self.create()
        self.overlays.written.add(DEVICE)
        self.overlays.damaged.add(DEVICE)
        with self.assertRaises(exception.OverlayDamaged) as caught:
            self.diffs.mend(self.diff)
        self.assertIn(DEVICE, caught.exception.msg)

    def test_failures_are_cinders(self):
        self.create()
        self.overlays.look = mock.Mock(
            side_effect=processutils.ProcessExecutionError(stderr='no '))
        with self.assertRaises(exception.DiffFailed) as caught:
            self.diffs.mend(self.diff)
        self.assertIn('volume-1 cannot be used: no.', caught.exception.msg)
