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
from os_brick_vmthunder import snapshot
from tests.unit.os_brick_vmthunder import test_connection

VOLUME = test_connection.VOLUME
NAME = f'vmthunder-{VOLUME}'
GIB_SECTORS = test_connection.GIB // 512


class VolumeSnapshotTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.dm = mock.Mock(wraps=dm)
        self.dm.create.side_effect = lambda name, *_a, **_k: '/dev/' + name
        self.dm.snapshot_status.side_effect = None
        self.dm.snapshot_status.return_value = dm.SnapshotStatus('valid')
        self.dm.remove.side_effect = lambda name: None
        self.dm.find.side_effect = lambda name: object()
        patch = mock.patch.object(snapshot, 'dm', self.dm)
        patch.start()
        self.addCleanup(patch.stop)

    def snapshot(self, **changes):
        return snapshot.VolumeSnapshot(test_connection.make(**changes))

    def test_origin_is_padded_with_zeroes(self):
        self.snapshot().claim('/dev/bcache0')
        path = self.snapshot().create('/dev/dm-1')
        self.assertEqual(f'/dev/mapper/{NAME}', path)
        self.assertEqual([
            mock.call(f'{NAME}-origin', f'VMTHUNDER-origin-{VOLUME}',
                      [dm.Linear(0, GIB_SECTORS, '/dev/bcache0', 0),
                       dm.Zero(GIB_SECTORS, GIB_SECTORS)], readonly=True),
            mock.call(NAME, f'VMTHUNDER-volume-{VOLUME}',
                      [dm.Snapshot(0, 2 * GIB_SECTORS,
                                   f'/dev/mapper/{NAME}-origin',
                                   '/dev/dm-1', 16)])],
            self.dm.create.call_args_list)

    def test_volume_of_the_templates_size_needs_no_zeroes(self):
        self.snapshot(volume_size=test_connection.GIB).claim('/c')
        origin = self.dm.create.call_args_list[0].args[2]
        self.assertEqual([dm.Linear(0, GIB_SECTORS, '/c', 0)], origin)

    def test_lost_data_is_told(self):
        self.dm.snapshot_status.return_value = dm.SnapshotStatus('Invalid')
        for action in (self.snapshot().find,
                       lambda: self.snapshot().create('/d')):
            with self.assertRaisesRegex(exception.SnapshotInvalid,
                                        f'{VOLUME} is Invalid'):
                action()

    def test_find(self):
        self.assertEqual(f'/dev/mapper/{NAME}', self.snapshot().find())
        self.dm.find.side_effect = lambda name: None
        self.assertIsNone(self.snapshot().find())

    def test_snapshot_goes_before_its_origin(self):
        self.snapshot().remove()
        self.assertEqual([mock.call(NAME), mock.call(f'{NAME}-origin')],
                         self.dm.remove.call_args_list)
