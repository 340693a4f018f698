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

import errno
import os
import unittest
from unittest import mock

import ddt

from os_brick_vmthunder import caches
from os_brick_vmthunder.caches import backing
from os_brick_vmthunder.caches import bcacheset
from os_brick_vmthunder.caches import superblock
from os_brick_vmthunder import conf
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder.privileged import bcache as privileged
from os_brick_vmthunder.privileged import loop
from os_brick_vmthunder import sysfs
from tests.unit.os_brick_vmthunder import fake_kernel

MIB = fake_kernel.MIB
GIB = 1 << 30
ONE = '6a1b0c3e-0000-4000-8000-000000000001'


@ddt.ddt
class BcacheTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.kernel = fake_kernel.FakeKernel(self)
        self.kernel.add_disk('sdx', 32 * MIB)
        self.state = os.path.join(self.kernel.root, 'state')
        self.kernel.free_space = 64 * GIB
        self.clock = [0.0]
        self.kernel.patch(self, sysfs.time, 'monotonic', self.tick)

    def tick(self):
        self.clock[0] += 1
        return self.clock[0]

    def layer(self, **settings):
        return caches.create(conf.HostConfig(
            state_dir=self.state,
            cache_file=os.path.join(self.state, 'cache.img'), **settings))

    def attach(self, layer):
        return layer.attach(ONE, '/dev/sdx', 32 * MIB)

    def set_id(self):
        return os.listdir(self.kernel.sets)[0]

    def test_the_set_is_aged_and_tuned_once(self):
        layer = self.layer()
        self.attach(layer)
        self.assertGreater(self.kernel.steps.count('bcache.read_again'), 1)
        for name in bcacheset._CONGESTED:
            self.assertEqual('0', sysfs.read(os.path.join(
                self.kernel.sets, self.set_id(), name)))
        layer.detach(ONE)
        self.kernel.steps.clear()
        self.attach(layer)
        self.assertNotIn('bcache.read_again', self.kernel.steps)

    def test_memory_is_compacted_if_need_be(self):
        self.kernel.memory(39)
        self.kernel.compacts_to = 40
        self.attach(self.layer())
        self.assertIn('bcache.compact_memory', self.kernel.steps)

    @ddt.data((39, 2), (80, 1))
    @ddt.unpack
    def test_too_little_memory_in_one_piece(self, pieces, buckets):
        """The kernel would crash."""
        self.kernel.memory(pieces, buckets)
        self.kernel.patch(self, privileged, 'compact_memory', lambda: None)
        with self.assertRaisesRegex(exception.CacheError,
                                    '40 .* 512 KiB .* 2 of 2048 KiB'):
            self.attach(self.layer())
        self.assertNotIn('bcache.register', self.kernel.steps)

    def test_udev_is_waited_for_before_the_set_goes(self):
        layer = self.layer()
        self.attach(layer)
        layer.detach(ONE)
        self.kernel.steps.clear()
        layer.clear()
        self.assertLess(self.kernel.steps.index('bcache.settle'),
                        self.kernel.steps.index('bcache.set_attribute'))

    def test_ageing_reads_ten_periods(self):
        reads = []
        self.kernel.patch(self, privileged, 'read_again',
                          lambda *args: reads.append(args[1:]))
        self.attach(self.layer(cache_size=32 * GIB))
        self.assertEqual([(0, MIB, 1), (MIB, MIB, 1),
                          (2 * MIB, MIB, 321)], reads)

    def test_sequential_reads_are_kept_too(self):
        self.attach(self.layer())
        self.assertEqual('0', sysfs.attribute('bcache0', 'bcache',
                                              'sequential_cutoff'))

    def test_reads_go_on_past_a_cache_that_fails(self):
        self.attach(self.layer())
        shared = sysfs.number(f'/dev/mapper/vmthunder-shared-{ONE}')
        first, second = (f'service-time 0 1 2 {number} 1 1'
                         for number in (sysfs.number('/dev/bcache0'), shared))
        self.assertEqual(
            f'0 65536 multipath 2 queue_mode bio 0 2 1 {first} {second}',
            dm.table(f'vmthunder-failover-{ONE}').strip())

    @ddt.data(lambda layer: layer.forget(ONE), lambda layer: layer.clear())
    def test_dropped_after_a_crash_while_detaching(self, drop):
        layer = self.layer()
        self.attach(layer)
        dm.remove(f'vmthunder-template-{ONE}')
        drop(layer)
        self.assertEqual([], layer.templates())
        self.assertEqual([], list(dm.devices()))
        self.assertNotIn('bcache0', self.kernel.names())

    def test_stats(self):
        layer = self.layer()
        self.attach(layer)
        stats = layer.stats(ONE)
        self.assertEqual((4096, 4096, 3, 3, 6),
                         (stats.read_bytes, stats.fetched_bytes, stats.hits,
                          stats.misses, stats.bypassed))

    def test_after_a_reboot_the_set_is_the_same(self):
        layer = self.layer()
        self.attach(layer)
        set_id = self.set_id()
        layer.detach(ONE)
        self.kernel._bcache_set_attribute(
            f'{self.kernel.sets}/{set_id}/stop', '1')
        loop.detach(os.path.join(self.state, 'cache.img'))
        self.assertEqual(['sdx'], self.kernel.names())
        self.attach(layer)
        self.assertEqual(set_id, self.set_id())

    def test_the_file_takes_half_of_what_is_free(self):
        self.kernel.free_space = 10 * GIB
        self.attach(self.layer())
        self.assertEqual(5 * GIB, os.path.getsize(
            os.path.join(self.state, 'cache.img')))

    def test_no_room_for_the_file(self):
        self.kernel.free_space = GIB
        with self.assertRaisesRegex(exception.ConfigurationError,
                                    '512 MiB only in .*cache.img.*1024'):
            self.layer().verify()

    def test_no_bcache_in_the_kernel(self):
        self.kernel.no_modules.add('bcache')
        with self.assertRaisesRegex(
                exception.ConfigurationError,
                'no module bcache; .*cache = none in /etc/vmthunder'):
            self.layer().verify()

    def test_named_device(self):
        self.kernel.add_disk('nvme0n1', 100 * GIB)
        layer = self.layer(cache_device='/dev/nvme0n1')
        layer.verify()
        self.assertNotIn('/dev/nvme0n1', self.kernel.media)
        self.attach(layer)
        found = superblock.parse(self.kernel.media['/dev/nvme0n1'])
        self.assertEqual((True, True, self.set_id()),
                         (found.is_cache, found.ours, found.set_id))
        self.assertFalse(os.path.exists(
            os.path.join(self.state, 'cache.img')))
        layer.detach(ONE)
        layer.verify()
        layer.clear()
        self.assertIsNone(
            superblock.parse(self.kernel.media['/dev/nvme0n1']))

    def let_go_after(self, refusals, layer):
        """Have the kernel refuse some writes to the device, as in use."""
        write = privileged.write_device
        left = [OSError(errno.EBUSY, 'busy')] * refusals

        def refuse(*args):
            if left:
                raise left.pop()
            write(*args)

        self.kernel.add_disk('nvme0n1', 100 * GIB)
        self.attach(layer)
        layer.detach(ONE)
        self.kernel.patch(self, privileged, 'write_device', refuse)

    def test_a_device_that_the_kernel_lets_go_late(self):
        layer = self.layer(cache_device='/dev/nvme0n1')
        self.let_go_after(3, layer)
        layer.clear()
        self.assertIsNone(
            superblock.parse(self.kernel.media['/dev/nvme0n1']))

    def test_a_device_that_the_kernel_does_not_let_go(self):
        layer = self.layer(cache_device='/dev/nvme0n1')
        self.let_go_after(100, layer)
        with self.assertRaisesRegex(exception.CacheError,
                                    'not let go .* /dev/nvme0n1'):
            layer.clear()

    @ddt.data(({'cache_size': 31 * GIB}, '31 GiB'),
              ({'cache_device': '/dev/nvme0n1'}, '8 GiB'))
    @ddt.unpack
    def test_a_small_set_is_warned_of_once(self, settings, size):
        self.kernel.add_disk('nvme0n1', 8 * GIB)
        layer = self.layer(**settings)
        with self.assertLogs(bcacheset.LOG.logger, 'WARNING') as logs:
            self.attach(layer)
        self.assertIn(size, logs.output[0])
        layer.detach(ONE)
        with self.assertNoLogs(bcacheset.LOG.logger, 'WARNING'):
            self.attach(layer)

    def test_a_large_set_is_not_warned_of(self):
        with self.assertNoLogs(bcacheset.LOG.logger, 'WARNING'):
            self.attach(self.layer(cache_size=32 * GIB))

    def test_named_device_is_not_there(self):
        with self.assertRaisesRegex(
                exception.ConfigurationError,
                '/dev/nvme9n1 .* cache_device in /etc/vmthunder'):
            self.layer(cache_device='/dev/nvme9n1').verify()

    def test_named_device_holds_something_else(self):
        self.kernel.add_disk('nvme0n1', 100 * GIB)
        self.kernel.signatures['/dev/nvme0n1'] = 'ext4'
        layer = self.layer(cache_device='/dev/nvme0n1')
        for call in layer.verify, lambda: self.attach(layer):
            with self.assertRaisesRegex(exception.ConfigurationError,
                                        r'\(ext4\).*wipefs --all /dev/nvme'):
                call()
        layer.clear()
        self.assertEqual({}, self.kernel.media)

    def test_somebody_elses_cache_is_left_alone(self):
        self.kernel.add_disk('nvme0n1', 100 * GIB)
        self.kernel.signatures['/dev/nvme0n1'] = 'bcache'
        with mock.patch.object(superblock, '_LABEL', b'other'):
            other = superblock.cache(100 * GIB, 512 << 10, 512)
        self.kernel.media['/dev/nvme0n1'] = other
        layer = self.layer(cache_device='/dev/nvme0n1')
        with self.assertRaises(exception.ConfigurationError):
            self.attach(layer)
        layer.clear()
        self.assertEqual(other, self.kernel.media['/dev/nvme0n1'])

    def test_named_device_is_too_small(self):
        self.kernel.add_disk('nvme0n1', 100 * MIB)
        with self.assertRaisesRegex(exception.ConfigurationError,
                                    '100 MiB only in /dev/nvme0n1'):
            self.layer(cache_device='/dev/nvme0n1').verify()

    def test_the_kernel_does_not_take_the_cache_device(self):
        self.kernel.patch(self, privileged, 'register', lambda device: None)
        with self.assertRaisesRegex(exception.CacheError, 'kernel log'):
            self.attach(self.layer())

    def test_the_kernel_does_not_take_the_template(self):
        layer = self.layer()
        self.attach(layer)
        layer.detach(ONE)
        self.kernel.patch(self, privileged, 'register', lambda device: None)
        with self.assertRaisesRegex(exception.CacheError, 'kernel log'):
            self.attach(layer)

    def test_registered_but_not_attached(self):
        # as if the set had not been there when udev registered the device
        layer = self.layer()
        self.attach(layer)
        layer.detach(ONE)
        attach = self.kernel._attach_to
        self.kernel._attach_to = lambda name, set_id: None
        self.kernel.udev_registers = True
        real = self.kernel._dmsetup_create

        def create(*args):
            real(*args)
            self.kernel._attach_to = attach

        self.kernel._dmsetup_create = create
        self.kernel.patch(self, backing.dm.dmsetup, 'create', create)
        self.attach(layer)
        self.assertEqual('clean', sysfs.attribute('bcache0', 'bcache',
                                                  'state'))

    def test_the_set_has_no_room_for_a_template(self):
        layer = self.layer()
        self.attach(layer)
        layer.detach(ONE)

        def refuse(name, set_id):
            raise OSError(22, 'Invalid argument')

        self.kernel._attach_to = refuse
        self.kernel.udev_registers = False
        register = self.kernel._bcache_register

        def quiet(device):
            try:
                register(device)
            except OSError:
                pass

        self.kernel.patch(self, privileged, 'register', quiet)
        with self.assertRaisesRegex(exception.CacheError,
                                    'drop the whole cache'):
            self.attach(layer)

    def test_a_cached_device_that_does_not_stop(self):
        layer = self.layer()
        self.attach(layer)
        self.kernel.open.add('bcache0')
        with self.assertRaisesRegex(exception.DeviceBusy, 'bcache0'):
            layer.detach(ONE)
        self.kernel.open.clear()
        layer.detach(ONE)
        self.assertIsNone(layer.device(ONE))

    def test_buckets_are_what_the_kernel_can_count(self):
        self.assertLess(bcacheset._BUCKET // 512, 1 << 13)


class SuperblockTest(unittest.TestCase):

    def test_as_the_tools_write_it(self):
        # what make-bcache's superblock has, but for label and UUIDs
        data = superblock.backing(ONE, ONE, MIB, 4096)
        self.assertEqual(superblock.LENGTH, len(data))
        self.assertEqual((4, 2048, 8), (
            int.from_bytes(data[16:24], 'little'),
            int.from_bytes(data[184:192], 'little'),
            int.from_bytes(data[192:194], 'little')))

    def test_checksum(self):
        # the check value of CRC-64/WE
        self.assertEqual(0x62ec59e3f1a4f00a,
                         superblock._checksum(b'123456789'))

    def test_parse(self):
        found = superblock.parse(superblock.backing(ONE, ONE, MIB, 512))
        self.assertEqual((ONE, ONE, True, False),
                         (found.device_id, found.set_id, found.ours,
                          found.is_cache))
        self.assertIsNone(superblock.parse(b''))
        self.assertIsNone(superblock.parse(bytes(4096)))
