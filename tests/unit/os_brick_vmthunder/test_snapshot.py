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

from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder import exceptionstore
from os_brick_vmthunder import overlay
from os_brick_vmthunder import snapshot
from os_brick_vmthunder import volumedevice
from tests.unit.os_brick_vmthunder import test_connection

VOLUME = test_connection.VOLUME
NAME = f'vmthunder-{VOLUME}'
GIB_SECTORS = test_connection.GIB // 512


class VolumeDeviceTestCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.dm = mock.Mock(wraps=dm)
        self.dm.create.side_effect = lambda name, *_a, **_k: '/dev/' + name
        self.dm.snapshot_status.side_effect = None
        self.dm.snapshot_status.return_value = dm.SnapshotStatus('valid')
        self.dm.remove.side_effect = lambda name: None
        self.dm.find.side_effect = lambda name: object()
        self.dm.length.side_effect = lambda name: self.lengths.get(name, 0)
        self.dm.wake.side_effect = lambda name: None
        self.lengths = {}
        self.store = 3 * test_connection.GIB
        for target, name, value in (
                (snapshot.sysfs, 'size', lambda device: self.store),
                (volumedevice, 'dm', self.dm), (snapshot, 'dm', self.dm),
                (overlay, 'dm', self.dm)):
            patch = mock.patch.object(target, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def assertMade(self, *calls):
        self.assertEqual(list(calls), self.dm.create.call_args_list)
        self.dm.create.reset_mock()

    def assertRemovedFromTheTop(self, device):
        device.remove()
        names = [mock.call(NAME), mock.call(f'{NAME}-origin')]
        self.assertEqual(names, self.dm.wake.call_args_list)
        self.assertEqual(names, self.dm.remove.call_args_list)


class VolumeSnapshotTest(VolumeDeviceTestCase):

    def snapshot(self, **changes):
        return snapshot.VolumeSnapshot(test_connection.make(**changes))

    def test_origin_is_padded_with_zeroes(self):
        self.snapshot().claim('/dev/bcache0')
        self.assertMade(self.origin(2))
        path = self.snapshot().create('/dev/bcache0', '/dev/dm-1')
        self.assertEqual(f'/dev/mapper/{NAME}', path)
        self.assertEqual({'type': 'block', 'path': path},
                         self.snapshot().info)
        self.assertMade(self.origin(2), self.device(2))

    def origin(self, size):
        return mock.call(
            f'{NAME}-origin', f'VMTHUNDER-origin-{VOLUME}',
            [dm.Linear(0, GIB_SECTORS, '/dev/bcache0', 0),
             dm.Zero(GIB_SECTORS, (size - 1) * GIB_SECTORS)], readonly=True)

    def device(self, size):
        return mock.call(NAME, f'VMTHUNDER-volume-{VOLUME}', [
            dm.Snapshot(0, size * GIB_SECTORS, f'/dev/mapper/{NAME}-origin',
                        '/dev/dm-1', 16)])

    def test_diff_knows_of_an_extension(self):
        """The origin first: a snapshot may not be longer."""
        self.store = exceptionstore.store_size(7 * test_connection.GIB, 8192)
        self.snapshot().create('/dev/bcache0', '/dev/dm-1')
        self.assertMade(self.origin(7), self.device(7))

    def test_never_shorter(self):
        self.lengths = {f'{NAME}-origin': 8 * GIB_SECTORS,
                        NAME: 5 * GIB_SECTORS}
        self.store = 6 * test_connection.GIB
        self.snapshot().claim('/dev/bcache0')
        self.assertMade(self.origin(8))
        self.snapshot().create('/dev/bcache0', '/dev/dm-1')
        self.assertMade(self.origin(8), self.device(5))
        self.assertEqual(5 * test_connection.GIB, self.snapshot().size)

    def test_diff_that_could_overflow(self):
        self.assertTrue(self.snapshot().fits('/dev/dm-1'))
        self.store = 2 * test_connection.GIB
        self.assertFalse(self.snapshot().fits('/dev/dm-1'))
        with self.assertRaisesRegex(
                exception.DiffTooSmall,
                f'{self.store} bytes.*{2 * test_connection.GIB} bytes'):
            self.snapshot().create('/dev/bcache0', '/dev/dm-1')
        self.assertMade()

    def test_volume_of_the_templates_size_needs_no_zeroes(self):
        self.snapshot(volume_size=test_connection.GIB).claim('/c')
        origin = self.dm.create.call_args_list[0].args[2]
        self.assertEqual([dm.Linear(0, GIB_SECTORS, '/c', 0)], origin)

    def test_lost_data_is_told(self):
        self.dm.snapshot_status.return_value = dm.SnapshotStatus('Invalid')
        for action in (self.snapshot().find,
                       lambda: self.snapshot().create('/c', '/d')):
            with self.assertRaisesRegex(exception.SnapshotInvalid,
                                        f'{VOLUME} is Invalid'):
                action()

    def test_find(self):
        self.assertEqual(f'/dev/mapper/{NAME}', self.snapshot().find())
        self.dm.find.side_effect = lambda name: None
        self.assertIsNone(self.snapshot().find())

    def test_snapshot_goes_before_its_origin(self):
        self.assertRemovedFromTheTop(self.snapshot())
