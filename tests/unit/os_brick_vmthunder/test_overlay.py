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

from oslo_concurrency import processutils

from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder import overlay
from os_brick_vmthunder import overlaystore
from tests.unit.os_brick_vmthunder import test_connection
from tests.unit.os_brick_vmthunder import test_snapshot

GIB = test_connection.GIB
NAME = test_snapshot.NAME
PATH = f'/dev/mapper/{NAME}'


def store_size(size):
    return overlaystore.store_size(size, overlaystore.CLUSTER)


class VolumeOverlayTest(test_snapshot.VolumeDeviceTestCase):

    def overlay(self, **changes):
        path = connection.Path('192.0.2.1:3260', 'iqn.2010-10.org.x:y', 0)
        diff = connection.Diff(
            test_connection.VOLUME, (path,), connection.Chap('du', 'dp'),
            overlaystore.CLUSTER // 512)
        return overlay.VolumeOverlay(test_connection.make(
            mode=connection.SnapshotMode.VMM, diff=diff, **changes))

    def origin(self):
        return mock.call(
            f'{NAME}-origin', f'VMTHUNDER-origin-{test_connection.VOLUME}',
            [dm.Linear(0, GIB // 512, '/dev/bcache0')], readonly=True)

    def test_hypervisor_gets_both(self):
        made = self.overlay()
        made.claim('/dev/bcache0')
        # whatever the volume's size: past it an overlay reads as zero
        self.assertMade(self.origin())
        self.assertEqual(PATH, made.create('/dev/bcache0', '/dev/dm-1'))
        self.assertMade(self.origin(), mock.call(
            NAME, f'VMTHUNDER-volume-{test_connection.VOLUME}',
            [dm.Linear(0, self.store // 512, '/dev/dm-1')]))
        self.assertEqual({'type': 'block', 'path': PATH, 'format': 'qcow2',
                          'backing': f'{PATH}-origin'}, made.info)

    def test_size_is_the_volumes(self):
        self.assertEqual(0, self.overlay().size)
        self.lengths[NAME] = store_size(7 * GIB) // 512
        self.assertEqual(7 * GIB, self.overlay().size)

    def test_diff_that_is_too_small(self):
        self.store = store_size(2 * GIB)
        self.assertTrue(self.overlay().fits('/dev/dm-1'))
        self.store -= 512
        self.assertFalse(self.overlay().fits('/dev/dm-1'))
        with self.assertRaisesRegex(exception.DiffTooSmall,
                                    f'{self.store} bytes.*{2 * GIB} bytes'):
            self.overlay().create('/dev/bcache0', '/dev/dm-1')
        self.assertMade()

    def test_find(self):
        self.assertEqual(PATH, self.overlay().find())
        self.dm.find.side_effect = lambda name: None
        self.assertIsNone(self.overlay().find())
        self.dm.snapshot_status.assert_not_called()

    def test_grow(self):
        self.lengths[NAME] = store_size(7 * GIB) // 512
        with mock.patch.object(overlay, 'qcow2') as qcow2:
            for length, calls in ((7 * GIB, []), (8 * GIB, []),
                                  (2 * GIB, [mock.call(PATH, 7 * GIB)])):
                qcow2.look.return_value = length, True
                self.overlay().grow()
                self.assertEqual(calls, qcow2.resize.mock_calls)

    def test_growing_fails(self):
        self.lengths[NAME] = store_size(7 * GIB) // 512
        with mock.patch.object(overlay, 'qcow2') as qcow2:
            qcow2.look.return_value = 2 * GIB, True
            qcow2.resize.side_effect = processutils.ProcessExecutionError(
                stderr='Failed to get "write" lock')
            with self.assertRaisesRegex(exception.OverlayError,
                                        'Failed to get "write" lock'):
                self.overlay().grow()

    def test_overlay_goes_before_its_origin(self):
        self.assertRemovedFromTheTop(self.overlay())
