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
from oslo_concurrency import processutils

from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder.privileged import dmsetup
from os_brick_vmthunder import sysfs
from tests.unit.os_brick_vmthunder import fake_kernel

MIB = fake_kernel.MIB
UUID = 'VMTHUNDER-kind-1'


@ddt.ddt
class DeviceMapperTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.kernel = fake_kernel.FakeKernel(self)
        for name in 'sdx', 'sdy':
            self.kernel.add_disk(name, 32 * MIB)

    def create(self, device='/dev/sdx', uuid=UUID):
        return dm.create('one', uuid, [dm.Linear(0, 2048, device),
                                       dm.Zero(2048, 2048)])

    def patch(self, name, result):
        self.kernel.patch(self, dmsetup, name, mock.Mock(
            side_effect=result if isinstance(result, Exception) else [result]
        ))

    def test_targets(self):
        self.assertEqual(
            ['0 8 linear 1:sdx 16', '8 256 striped 1 128 1:sdx 0',
             '0 64 switch 2 128 0 1:sdx 0 1:sdy 0',
             '0 8 multipath 2 queue_mode bio 0 2 1 '
             'service-time 0 1 2 1:sdx 1 1 service-time 0 1 2 1:sdy 1 1',
             '264 8 zero',
             '0 8 snapshot 1:sdx 1:sdy P 16',
             '0 8 snapshot 1:sdx 1:sdy N 16'],
            [target.render() for target in (
                dm.Linear(0, 8, '/dev/sdx', 16),
                dm.Chunked(8, 256, '/dev/sdx', 128),
                dm.Switch(0, 64, ('/dev/sdx', '/dev/sdy'), 128),
                dm.Failover(0, 8, ('/dev/sdx', '/dev/sdy')),
                dm.Zero(264, 8),
                dm.Snapshot(0, 8, '/dev/sdx', '/dev/sdy', 16),
                dm.Snapshot(0, 8, '/dev/sdx', '/dev/sdy', 16, False))])

    def test_create(self):
        self.assertEqual('/dev/mapper/one', self.create())
        device = dm.find('one')
        self.assertEqual(dm.Device('one', 'dm-0', UUID, False), device)
        self.assertEqual('/dev/dm-0', dm.find_uuid(UUID))
        self.assertEqual('one', dm.name_of('/dev/dm-0'))
        self.assertEqual(['one'], dm.holders('/dev/sdx'))
        self.assertIn('linear', dm.table('one'))
        self.create()
        self.assertEqual(1, self.kernel.steps.count('dmsetup.create'))

    def test_what_is_not_there(self):
        self.assertIsNone(dm.find('one'))
        self.assertIsNone(dm.find_uuid(UUID))
        self.assertEqual([], dm.holders('/dev/nothing'))
        for call in (dm.name_of, dm.table):
            self.assertRaises(exception.DeviceMapperError, call, '/dev/sdx')
        self.assertRaises(exception.DeviceMapperError, dm.name_of, '/dev/no')
        with self.assertRaisesRegex(exception.DeviceMapperError, '/dev/no'):
            self.create('/dev/no')

    @ddt.data('table', 'uuid', 'suspended', 'half made')
    def test_what_is_not_as_it_should_be_is_made_again(self, what):
        self.create('/dev/sdy' if what == 'table' else '/dev/sdx',
                    'VMTHUNDER-kind-2' if what == 'uuid' else UUID)
        if what == 'suspended':
            self.kernel.write('1', 'block', 'dm-0', 'dm', 'suspended')
        if what == 'half made':
            self.kernel.tables['dm-0'] = ''
        self.create()
        self.assertEqual(['one'], dm.holders('/dev/sdx'))
        self.assertEqual([], dm.holders('/dev/sdy'))
        self.assertEqual(UUID, dm.find('one').uuid)
        self.assertFalse(dm.find('one').suspended)
        self.assertTrue(dm.table('one'))

    def remake(self, device, length=2048):
        return dm.remake('one', UUID, [dm.Linear(0, length, device)])

    def test_moved_while_it_is_used(self):
        self.assertEqual('/dev/mapper/one', self.remake('/dev/sdx'))
        self.kernel.open.add('dm-0')
        with dm.held('one'):
            self.assertTrue(dm.find('one').suspended)
            self.remake('/dev/sdy', 4096)
        self.assertEqual([], dm.holders('/dev/sdx'))
        self.assertEqual(['one'], dm.holders('/dev/sdy'))
        self.assertEqual(4096, dm.length('one'))
        self.assertFalse(dm.find('one').suspended)
        steps = list(self.kernel.steps)
        self.remake('/dev/sdy', 4096)
        self.assertNotIn('dmsetup.load',
                         self.kernel.steps[len(steps):])

    def test_moved_after_somebody_was_killed_over_it(self):
        self.remake('/dev/sdx')
        self.kernel.write('1', 'block', 'dm-0', 'dm', 'suspended')
        with dm.held('one'):
            self.remake('/dev/sdx')
        self.assertFalse(dm.find('one').suspended)
        self.assertNotIn('dmsetup.suspend', self.kernel.steps)
        self.kernel.tables['dm-0'] = ''
        self.remake('/dev/sdy')
        self.assertEqual(['one'], dm.holders('/dev/sdy'))

    def test_held_in_vain(self):
        with dm.held('one'):
            pass
        self.remake('/dev/sdx')
        with self.assertRaises(KeyError), dm.held('one'):
            raise KeyError
        self.assertFalse(dm.find('one').suspended)
        self.patch('suspend', OSError('no'))
        with self.assertRaisesRegex(exception.DeviceMapperError, 'no'), \
                dm.held('one'):
            self.fail('it is not held')

    def origin(self, length, device='/dev/sdx'):
        return dm.create('one', UUID, [
            dm.Linear(0, 2048, device),
            *([dm.Zero(2048, length - 2048)] if length > 2048 else [])],
            readonly=True)

    def snapshot(self, length):
        return dm.create('two', 'VMTHUNDER-kind-2', [
            dm.Snapshot(0, length, '/dev/mapper/one', '/dev/sdy', 16)])

    def test_what_is_used_is_made_longer(self):
        self.origin(2048)
        self.snapshot(2048)
        self.kernel.open.add('dm-1')
        self.assertEqual(0, dm.length('three'))
        for length in 4096, 8192:
            self.origin(length)
            self.snapshot(length)
            self.assertEqual([length] * 2, [dm.length('one'),
                                            dm.length('two')])
        self.assertEqual('1', sysfs.attribute('dm-0', 'ro'))
        self.assertEqual('0', sysfs.attribute('dm-1', 'ro'))
        self.assertEqual(['two'], dm.holders('/dev/mapper/one'))
        self.assertNotIn('dmsetup.remove', self.kernel.steps)

    def test_what_is_used_is_not_made_shorter(self):
        self.origin(4096)
        self.kernel.open.add('dm-0')
        for length in 3072, 2048:
            self.assertRaises(exception.DeviceBusy, self.origin, length)
        self.assertRaises(exception.DeviceBusy, self.origin, 8192,
                          '/dev/sdy')
        self.assertEqual(4096, dm.length('one'))

    def test_refused_table_leaves_the_device_working(self):
        self.origin(2048)
        self.snapshot(2048)
        with self.assertRaisesRegex(exception.DeviceMapperError,
                                    'change two: too small'):
            self.snapshot(4096)
        self.assertFalse(dm.find('two').suspended)
        self.assertEqual(2048, dm.length('two'))
        self.origin(4096)
        self.snapshot(4096)
        self.assertEqual(4096, dm.length('two'))

    @ddt.data(*range(5))
    def test_killed_while_it_is_made_longer(self, step):
        self.origin(4096)
        self.snapshot(2048)
        self.kernel.open.add('dm-1')
        self.kernel.die_before = len(self.kernel.steps) + step
        if step < 4:  # read the table, clear, load, resume
            self.assertRaises(fake_kernel.Killed, self.snapshot, 4096)
        else:
            self.snapshot(4096)
        self.kernel.die_before = None
        self.assertFalse(dm.find('two').suspended)
        self.snapshot(4096)
        self.assertEqual(4096, dm.length('two'))

    def test_suspended_device_in_use_is_woken(self):
        self.create()
        self.kernel.open.add('dm-0')
        self.kernel.write('1', 'block', 'dm-0', 'dm', 'suspended')
        self.create()
        self.assertFalse(dm.find('one').suspended)

    def test_wake(self):
        dm.wake('one')
        self.create()
        dm.wake('one')
        self.assertNotIn('dmsetup.resume', self.kernel.steps)
        self.kernel.write('1', 'block', 'dm-0', 'dm', 'suspended')
        dm.wake('one')
        self.assertFalse(dm.find('one').suspended)
        self.kernel.write('1', 'block', 'dm-0', 'dm', 'suspended')
        self.patch('resume', processutils.ProcessExecutionError(stderr='x'))
        with self.assertLogs(level='WARNING') as logs:
            dm.wake('one')
        self.assertIn('could not resume one: x', logs.output[0])

    def test_lengthen(self):
        self.create()
        self.kernel.open.add('dm-0')
        for length, expected in ((4096, 4096), (1024, 4096), (8192, 8192)):
            dm.lengthen('one', length)
            self.assertEqual(expected, dm.length('one'))
        self.assertEqual('0 2048 linear 1:sdx 0\n2048 6144 zero',
                         self.kernel.tables['dm-0'])
        self.assertEqual('0', sysfs.attribute('dm-0', 'ro'))
        self.kernel.write('1', 'block', 'dm-0', 'dm', 'suspended')
        dm.lengthen('one', 1024)
        self.assertEqual(dm.Device('one', 'dm-0', UUID, False),
                         dm.find('one'))
        self.assertEqual(8192, dm.length('one'))
        self.kernel.tables['dm-0'] = ''
        for name in 'one', 'two':
            self.assertRaises(exception.DeviceMapperError, dm.lengthen, name,
                              9000)

    def test_what_is_used_is_not_replaced(self):
        self.create('/dev/sdy')
        self.kernel.open.add('dm-0')
        with self.assertRaisesRegex(exception.DeviceBusy, r'qemu \(42\)'):
            self.create()
        self.assertEqual(['one'], dm.holders('/dev/sdy'))

    def test_remove(self):
        self.create()
        dm.remove('one')
        dm.remove('one')
        self.assertIsNone(dm.find('one'))

    def test_remove_names_who_stands_on_it(self):
        self.create()
        dm.create('two', 'VMTHUNDER-kind-2',
                  [dm.Linear(0, 8, '/dev/mapper/one')])
        with self.assertRaisesRegex(exception.DeviceBusy, 'by two'):
            dm.remove('one')
        self.assertNotIn('dmsetup.remove', self.kernel.steps)

    def test_remove_of_what_just_went(self):
        self.create()
        remove = self.kernel._dmsetup_remove

        def gone(name):
            remove(name)
            raise processutils.ProcessExecutionError(stderr='No such device')

        self.kernel.patch(self, dmsetup, 'remove', gone)
        dm.remove('one')

    @ddt.data(('Device or resource busy', exception.DeviceBusy,
               'unknown process'),
              ('No memory', exception.DeviceMapperError, 'No memory'))
    @ddt.unpack
    def test_remove_fails(self, stderr, kind, named):
        self.create()
        self.patch('remove', processutils.ProcessExecutionError(
            stderr=stderr))
        with self.assertRaisesRegex(kind, named):
            dm.remove('one')

    def test_create_fails(self):
        self.patch('create', processutils.ProcessExecutionError(
            stderr='device-mapper: reload ioctl failed: Invalid argument'))
        with self.assertRaisesRegex(exception.DeviceMapperError,
                                    'create one: .*Invalid argument'):
            self.create()

    def test_the_node_does_not_appear(self):
        self.kernel.patch(self, sysfs, 'wait', lambda condition: False)
        with self.assertRaisesRegex(exception.DeviceMapperError, 'udevd'):
            self.create()

    @ddt.data(('0 8 snapshot 16/2048 8\n',
               dm.SnapshotStatus('valid', 16, 2048, 8), True),
              ('0 8 snapshot 16/2048\n',
               dm.SnapshotStatus('valid', 16, 2048, 0), True),
              ('0 8 snapshot Invalid\n', dm.SnapshotStatus('Invalid'), False),
              ('0 8 snapshot Merge failed\n',
               dm.SnapshotStatus('Merge failed'), False))
    @ddt.unpack
    def test_snapshot_status(self, text, expected, valid):
        self.patch('status', text)
        status = dm.snapshot_status('one')
        self.assertEqual(expected, status)
        self.assertEqual(valid, status.valid)

    @ddt.data('0 8 linear 1:1 0\n', '',
              processutils.ProcessExecutionError(stderr='no device'))
    def test_snapshot_status_of_something_else(self, result):
        self.patch('status', result)
        self.assertRaises(exception.DeviceMapperError, dm.snapshot_status,
                          'one')
