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

from cinder_vmthunder import assembly
from cinder_vmthunder import diffs
from cinder_vmthunder import exception
from cinder_vmthunder import layers
from cinder_vmthunder import locks
from cinder_vmthunder import stores
from cinder_vmthunder import templates
from cinder_vmthunder import volumegroup
from os_brick_vmthunder import connection
from os_brick_vmthunder import exception as brick_exception
from tests.unit.cinder_vmthunder import fakes

TEMPLATE = 'cccccccc-0000-4000-8000-00000000000c'
GIB = 1 << 30
DEVICE = 'vmthunder-assembly-volume-1'


class AssembliesTestCase(unittest.TestCase):

    MODE = connection.SnapshotMode.DM

    def setUp(self):
        super().setUp()
        world = fakes.world()
        self.lvm, _lio = world.__enter__()
        self.addCleanup(world.__exit__, None, None, None)
        self.dm = assembly.dm
        self.group = volumegroup.VolumeGroup('vg', self.lvm)
        self.diffs = diffs.Diffs(self.group)
        self.assemblies = assembly.Assemblies(self.group, self.diffs)
        self.group.create(templates.name_of(TEMPLATE), GIB,
                          {'state': 'ready', 'image': 'i'})
        self.diff = diffs.Diff('volume-1', TEMPLATE, GIB, 16, 2 * GIB,
                               self.MODE)
        self.diffs.create(self.diff)
        self.before = self.names()

    def names(self):
        return set(self.lvm.volumes)

    def collect(self, *exported):
        self.assemblies.collect(self.group.volumes(),
                                lambda name: name in exported)

    def assertNothingIsLeft(self):
        self.assertEqual(self.before, self.names())
        self.assertEqual({}, self.dm.devices)


@ddt.ddt
class AssembliesTest(AssembliesTestCase):

    def test_build(self):
        self.assertFalse(self.assemblies.is_built('volume-1'))
        self.assertEqual(f'/dev/mapper/{DEVICE}',
                         self.assemblies.build(self.diff))
        self.assertTrue(self.assemblies.is_built('volume-1'))
        self.assertEqual({
            f'{DEVICE}-origin': [
                self.dm.Linear(0, GIB // 512, '/dev/vg/origin-volume-1'),
                self.dm.Zero(GIB // 512, GIB // 512)],
            DEVICE: [self.dm.Snapshot(
                0, 2 * GIB // 512, f'/dev/mapper/{DEVICE}-origin',
                '/dev/vg/volume-1', 16)]}, self.dm.devices)
        self.assertTrue(self.group.get('origin-volume-1').read_only)

    def test_build_again_changes_nothing(self):
        self.assemblies.build(self.diff)
        before = self.lvm.count('lvcreate')
        self.assemblies.build(self.diff)
        self.assertEqual(before, self.lvm.count('lvcreate'))

    def test_snapshot_that_works_is_left_alone(self):
        mend = stores.snapshotheader.make_valid
        for _twice in range(2):
            self.assemblies.build(self.diff)
        mend.assert_called_once_with('/dev/vg/volume-1')

    def test_volume_as_large_as_its_template(self):
        self.diff = diffs.Diff('volume-1', TEMPLATE, 2 * GIB, 16, 2 * GIB)
        self.assemblies.build(self.diff)
        self.assertEqual(1, len(self.dm.devices[f'{DEVICE}-origin']))

    def test_origin_that_somebody_was_killed_over(self):
        self.group.snapshot('volume-1', 'origin-volume-1', {})
        self.assemblies.build(self.diff)
        self.assertEqual({'origin': TEMPLATE},
                         self.group.get('origin-volume-1').tags)

    def test_remove(self):
        self.assemblies.build(self.diff)
        self.assemblies.remove('volume-1')
        self.assertNothingIsLeft()
        self.lvm.commands.clear()
        self.assemblies.remove('volume-1')
        self.assertEqual([], self.lvm.commands)

    def test_in_use(self):
        self.assemblies.build(self.diff)
        error = brick_exception.DeviceBusy(device='/dev/dm-1', users='lio')
        with mock.patch.object(self.dm, 'remove', side_effect=error):
            with self.assertRaises(exception.AssemblyFailed) as caught:
                self.assemblies.remove('volume-1')
        self.assertIn('volume-1', caught.exception.msg)
        self.assertIn('lio', caught.exception.msg)
        self.assertIn('origin-volume-1', self.names())

    def test_lost_snapshot(self):
        self.dm.states[DEVICE] = 'Invalid'
        with self.assertRaises(exception.AssemblyFailed) as caught:
            self.assemblies.build(self.diff)
        self.assertIn('Invalid', caught.exception.msg)

    def test_extend(self):
        self.assemblies.extend(self.diff)
        self.assertEqual({}, self.dm.devices)
        self.assemblies.build(self.diff)
        self.assemblies.extend(
            diffs.Diff('volume-1', TEMPLATE, GIB, 16, 3 * GIB))
        self.assertEqual(3 * GIB // 512, self.dm.devices[DEVICE][0].length)
        self.assertEqual(2 * GIB // 512,
                         self.dm.devices[f'{DEVICE}-origin'][1].length)

    def test_view(self):
        with self.assemblies.view(self.diff) as path:
            (view,) = [name for name in self.names()
                       if name.startswith('view-')]
            self.assertEqual(f'/dev/mapper/vmthunder-assembly-{view}', path)
            self.assertTrue(diffs.parse(self.group.get(view)).is_temporary)
            self.assertEqual(f'/dev/vg/{view}', self.dm.devices[
                f'vmthunder-assembly-{view}'][0].cow)
        self.assertNothingIsLeft()

    def test_view_of_who_failed(self):
        with self.assertRaises(KeyError), self.assemblies.view(self.diff):
            raise KeyError
        self.assertNothingIsLeft()

    def test_view_that_cannot_be_built(self):
        error = brick_exception.DeviceBusy(device='/dev/dm-1', users='x')
        with mock.patch.object(self.dm, 'create', side_effect=error):
            with self.assertRaises(exception.AssemblyFailed), \
                    self.assemblies.view(self.diff):
                self.fail('there is nothing to see')
        self.assertNothingIsLeft()

    def test_view_in_use_is_not_collected(self):
        with self.assemblies.view(self.diff):
            before = self.names(), dict(self.dm.devices)
            self.collect()
            self.assertEqual(before, (self.names(), self.dm.devices))

    def test_view_that_somebody_was_killed_over(self):
        view = self.diffs.copy(self.diff, 'view-1', 2 * GIB)
        self.assemblies.build(view)
        self.collect()
        self.assertNothingIsLeft()

    def test_view_whose_origin_is_half_made(self):
        self.diffs.copy(self.diff, 'view-1', 2 * GIB)
        self.group.snapshot(templates.name_of(TEMPLATE), 'origin-view-1',
                            {'origin': TEMPLATE})
        self.collect()
        self.assertNothingIsLeft()

    def test_origin_of_a_view_that_is_gone(self):
        self.group.snapshot(templates.name_of(TEMPLATE), 'origin-view-1',
                            {'origin': TEMPLATE})
        self.collect()
        self.assertNothingIsLeft()

    def test_exported_assembly_is_not_collected(self):
        self.assemblies.build(self.diff)
        self.collect('volume-1')
        self.assertTrue(self.assemblies.is_built('volume-1'))
        self.collect()
        self.assertNothingIsLeft()

    def test_assembly_being_made_is_not_collected(self):
        self.assemblies.build(self.diff)
        with locks.template_lock(TEMPLATE):
            self.collect()
        self.assertTrue(self.assemblies.is_built('volume-1'))

    @ddt.data('view-1', 'volume-1')
    def test_failure_to_collect_is_only_told(self, name):
        if name != 'volume-1':
            self.diffs.copy(self.diff, name, 2 * GIB)
        self.assemblies.build(self.diffs.get(name))
        self.lvm.fail['lvremove'] = 'busy'
        with self.assertLogs(assembly.LOG.logger, 'ERROR'):
            self.collect()


class OverlayTest(AssembliesTestCase):
    """What QEMU makes of an overlay."""

    MODE = connection.SnapshotMode.VMM

    def setUp(self):
        super().setUp()
        self.nbd = layers.nbd

    def linear(self, size, device):
        return [self.dm.Linear(0, size * GIB // 512, device)]

    def assertServed(self, device, size):
        self.assertEqual(
            {DEVICE: (device, '/dev/vg/volume-1',
                      f'/dev/mapper/{DEVICE}-origin')}, self.nbd.disks)
        self.assertEqual(self.linear(size, device), self.dm.devices[DEVICE])
        self.assertEqual(set(), self.dm.held_names)

    def test_build(self):
        for _twice in range(2):
            self.assertEqual(f'/dev/mapper/{DEVICE}',
                             self.assemblies.build(self.diff))
            self.assertServed('/dev/nbd0', 2)

    def test_process_that_died(self):
        self.assemblies.build(self.diff)
        self.nbd.disks.clear()
        self.assemblies.build(self.diff)
        self.assertServed('/dev/nbd1', 2)

    def test_killed_before_the_device_stood_on_it(self):
        self.assemblies.build(self.diff)
        del self.dm.devices[DEVICE]
        self.assemblies.build(self.diff)
        self.assertServed('/dev/nbd0', 2)

    def test_extend(self):
        self.assemblies.build(self.diff)
        self.dm.held_names.add(DEVICE)  # somebody was killed over it
        stop = self.nbd.stop

        def stop_held(name):
            self.assertEqual({DEVICE}, self.dm.held_names)
            stop(name)

        with mock.patch.object(self.nbd, 'stop', stop_held):
            self.assemblies.extend(self.diffs.extend(self.diff, 3 * GIB))
        self.assertServed('/dev/nbd1', 3)

    def test_failure_lets_requests_pass_again(self):
        self.assemblies.build(self.diff)
        with mock.patch.object(self.nbd, 'serve', side_effect=OSError('no')):
            with self.assertRaises(exception.AssemblyFailed) as caught:
                self.assemblies.extend(self.diffs.extend(self.diff, 3 * GIB))
        self.assertIn('volume-1: no', caught.exception.msg)
        self.assertEqual(set(), self.dm.held_names)

    def test_remove(self):
        self.assemblies.build(self.diff)
        self.assemblies.remove('volume-1')
        self.assertNothingIsLeft()
        self.assertEqual({}, self.nbd.disks)

    def test_view(self):
        with self.assemblies.view(self.diff):
            ((_device, store, _origin),) = self.nbd.disks.values()
            self.assertRegex(store, '^/dev/vg/view-')
        self.assertNothingIsLeft()
        self.assertEqual({}, self.nbd.disks)

    def test_view_of_what_has_yet_to_grow(self):
        diff = self.diffs.extend(self.diff, 3 * GIB)
        with self.assemblies.view(diff):
            ((device, _store, _origin),) = self.nbd.disks.values()
            self.assertEqual(3 * GIB, self.dm.sizes[device])
        # that is up to who has it
        self.assertEqual(2 * GIB, stores.qcow2.sizes['/dev/vg/volume-1'])

    def test_view_that_somebody_was_killed_over(self):
        view = self.diffs.copy(self.diff, 'view-1', 2 * GIB)
        self.assemblies.build(view)
        self.collect()
        self.assertNothingIsLeft()
        self.assertEqual({}, self.nbd.disks)
