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

import os
import unittest

import ddt

from os_brick_vmthunder import caches
from os_brick_vmthunder.caches import coalescing
from os_brick_vmthunder.caches import dmcachesuperblock
from os_brick_vmthunder import conf
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder import sysfs
from tests.unit.os_brick_vmthunder import fake_engines
from tests.unit.os_brick_vmthunder import fake_kernel

MIB = fake_kernel.MIB
GIB = 1 << 30
ONE = '6a1b0c3e-0000-4000-8000-000000000001'
TWO = '6a1b0c3e-0000-4000-8000-000000000002'
THREE = '6a1b0c3e-0000-4000-8000-000000000003'


def superblock(flags, magic=dmcachesuperblock._MAGIC):
    """Return one as the kernel writes it."""
    data = dmcachesuperblock._HEAD.pack(0, flags, 0, bytes(16), magic, 2)
    data = data.ljust(dmcachesuperblock.LENGTH, b'\x07')
    checksum = dmcachesuperblock._checksum(data)
    return checksum.to_bytes(4, 'little') + data[4:]


class EngineTestCase(unittest.TestCase):

    LAYER = ''

    def setUp(self):
        super().setUp()
        self.kernel = fake_engines.FakeKernel(self)
        self.kernel.add_disk('sdx', 32 * MIB)
        self.kernel.add_disk('sdl', 4 * GIB)
        self.state = os.path.join(self.kernel.root, 'state')
        self.kernel.free_space = 64 * GIB
        self.kernel.patch(self, coalescing, '_LOOPS', 2)

    def layer(self, **settings):
        return caches.create(conf.HostConfig(
            cache=self.LAYER, state_dir=self.state,
            cache_file=os.path.join(self.state, 'cache.img'), **settings))

    def attach(self, layer, template_id=ONE, source='/dev/sdx',
               size=32 * MIB):
        return layer.attach(template_id, source, size)

    def table(self, kind, template_id=ONE):
        return dm.table(f'vmthunder-{kind}-{template_id}').split()

    def number(self, kind, template_id=ONE):
        return sysfs.number(f'/dev/mapper/vmthunder-{kind}-{template_id}')


@ddt.ddt
class DmCacheTest(EngineTestCase):

    LAYER = 'dm-cache'

    def piece(self, template_id=ONE):
        return '/dev/mapper/vmthunder--cache-' + template_id.replace('-',
                                                                     '--')

    def test_tables(self):
        self.attach(self.layer())
        self.assertEqual(
            ['0', '65536', 'cache', self.number('metadata'),
             self.number('data'), self.number('writable'), '128', '2',
             'metadata2', 'writethrough', 'smq', '2', 'migration_threshold',
             '131072'], self.table('dmcache'))
        # 1 MiB for the header, 5 for metadata, and as much as the template
        self.assertEqual(['10240', 'linear'], self.table('metadata')[1:3])
        self.assertEqual('2048', self.table('metadata')[4])
        self.assertEqual(['12288'], self.table('data')[4:])
        self.assertGreaterEqual(int(self.table('data')[1]), 65536)

    def test_reads_go_on_past_a_cache_that_fails(self):
        path = self.attach(self.layer())
        self.assertEqual(
            ['0', '65536', 'mirror', 'core', '2', '1024', 'nosync', '2',
             self.number('dmcache'), '0', self.number('shared'), '0', '1',
             'handle_errors'], self.table('either'))
        self.assertIn(self.number('either'),
                      dm.table(os.path.basename(path)).split())

    def test_a_new_piece_is_never_taken_for_what_was_there_before(self):
        layer = self.layer()
        self.kernel.media[self.piece(), MIB] = superblock(1)
        self.attach(layer)
        self.assertEqual(bytes(4096), self.kernel.media[self.piece(), MIB])

    def test_a_header_of_another_template(self):
        layer = self.layer()
        self.attach(layer)
        layer.detach(ONE)
        self.kernel.media[self.piece(), 0] = (
            self.kernel.media[self.piece(), 0].replace(
                b'vmthunder dm-cache 1', b'vmthunder dm-cache 2'))
        self.kernel.media[self.piece(), MIB] = superblock(1)
        self.attach(layer)
        self.assertEqual(bytes(4096), self.kernel.media[self.piece(), MIB])

    @ddt.data((superblock(0), superblock(1)),  # as a power cut leaves it
              (superblock(1), superblock(1)),
              (superblock(2), superblock(2)),  # the kernel refuses it
              (superblock(0, magic=5), superblock(0, magic=5)),
              (bytes(4096), bytes(4096)))
    @ddt.unpack
    def test_what_was_not_shut_down_is_not_dirty(self, there, then):
        layer = self.layer()
        self.attach(layer)
        layer.detach(ONE)
        self.kernel.media[self.piece(), MIB] = there
        self.attach(layer)
        self.assertEqual(then, self.kernel.media[self.piece(), MIB])

    def test_a_cache_that_the_kernel_refuses_is_dropped(self):
        layer = self.layer()
        self.attach(layer)
        layer.detach(ONE)
        self.kernel.media[self.piece(), MIB] = superblock(2)
        create = self.kernel._dmsetup_create
        metadata = f'/dev/mapper/vmthunder-metadata-{ONE}'

        def refuse(name, uuid, table, readonly):
            if ' cache ' in table and (metadata, 0) not in self.kernel.media:
                raise fake_engines.processutils.ProcessExecutionError(
                    stderr='Invalid argument')
            create(name, uuid, table, readonly)

        self.kernel.patch(self, dm.dmsetup, 'create', refuse)
        self.attach(layer)
        self.assertEqual(bytes(4096), self.kernel.media[metadata, 0])

    def test_stats(self):
        layer = self.layer()
        self.attach(layer)
        stats = layer.stats(ONE)
        self.assertEqual((4096, 4096, 3, 4),
                         (stats.read_bytes, stats.fetched_bytes, stats.hits,
                          stats.misses))

    def test_stats_of_a_cache_that_failed(self):
        layer = self.layer()
        self.attach(layer)
        self.kernel.patch(self, dm.dmsetup, 'status',
                          lambda name: '0 49155 cache Fail')
        self.assertEqual((4096, 0), (layer.stats(ONE).read_bytes,
                                     layer.stats(ONE).hits))

    def test_after_a_reboot_the_pieces_are_the_same(self):
        layer = self.layer()
        self.attach(layer)
        layer.detach(ONE)
        fake_kernel.loop.detach(os.path.join(self.state, 'cache.img'))
        self.attach(layer)
        self.assertEqual(['vgcreate', 'lvcreate', 'lvchange'],
                         [command[0] for command in self.kernel.commands])

    def test_lvm_sees_the_cache_device_only(self):
        layer = self.layer(cache_device='/dev/sdl')
        self.attach(layer)
        layer.detach(ONE)
        layer.clear()
        self.assertEqual(
            [('vgcreate', '/dev/sdl'), ('lvcreate', '/dev/sdl'),
             ('vgremove', '/dev/sdl')],
            [(command[0], command[2]) for command in self.kernel.commands])

    def test_a_template_takes_a_quarter_at_most(self):
        self.kernel.add_disk('sdy', 100 * GIB)
        self.attach(self.layer(cache_device='/dev/sdl'), ONE, '/dev/sdy',
                    100 * GIB)
        self.assertEqual({ONE: GIB - 4 * MIB}, self.kernel.volumes)

    def test_the_oldest_that_is_not_attached_gives_way(self):
        self.kernel.add_disk('sdy', 100 * GIB)
        layer = self.layer(cache_device='/dev/sdl')
        ids = [f'{ONE[:-1]}{number}' for number in range(1, 6)]
        for template_id in ids[:4]:
            layer.attach(template_id, '/dev/sdy', 100 * GIB)
        for template_id in ids[1:4]:
            layer.detach(template_id)
        layer.attach(ids[4], '/dev/sdy', 100 * GIB)
        self.assertEqual({ids[0], *ids[2:]}, set(self.kernel.volumes))

    def test_no_room_as_all_are_attached(self):
        self.kernel.add_disk('sdy', 100 * GIB)
        layer = self.layer(cache_device='/dev/sdl')
        for number in range(1, 5):
            layer.attach(f'{ONE[:-1]}{number}', '/dev/sdy', 100 * GIB)
        with self.assertRaisesRegex(exception.CacheError, 'no room'):
            layer.attach(f'{ONE[:-1]}5', '/dev/sdy', 100 * GIB)

    def test_a_named_device_that_holds_something_else(self):
        self.kernel.signatures['/dev/sdl'] = 'ext4'
        layer = self.layer(cache_device='/dev/sdl')
        for call in layer.verify, lambda: self.attach(layer):
            with self.assertRaisesRegex(exception.ConfigurationError,
                                        r'\(ext4\).*wipefs --all /dev/sdl'):
                call()
        layer.clear()
        self.assertEqual([], self.kernel.commands)

    def test_a_file_of_another_layer(self):
        layer = self.layer()
        os.makedirs(self.state)
        path = os.path.join(self.state, 'cache.img')
        with open(path, 'wb') as file:
            file.truncate(GIB)
        self.kernel.signatures[path] = 'bcache'
        with self.assertRaisesRegex(exception.ConfigurationError,
                                    r'\(bcache\).*cache drop --all'):
            self.attach(layer)
        self.assertTrue(os.path.exists(path))
        self.assertNotIn(path, self.kernel.files.values())

    @ddt.data(('modules', 'dm-cache-smq', 'no module dm-cache-smq'),
              ('programs', 'lvcreate', 'lvcreate is not installed.*lvm2'))
    @ddt.unpack
    def test_what_is_lacking(self, kind, name, said):
        getattr(self.kernel, f'no_{kind}').add(name)
        with self.assertRaisesRegex(exception.ConfigurationError,
                                    f'{said}.*cache = none'):
            self.layer().verify()


class FlashcacheTest(EngineTestCase):

    LAYER = 'flashcache'

    def test_lacking_on_todays_kernels(self):
        self.kernel.no_modules.add('flashcache')
        with self.assertRaisesRegex(
                exception.ConfigurationError,
                'layer flashcache .* no module flashcache; build .* or set '
                'cache = none') as caught:
            self.layer().verify()
        self.assertNotIn('\n', str(caught.exception))

    def test_commands(self):
        made = []
        create = self.kernel._flashcache
        self.kernel.patch(
            self, fake_engines.flashcache, 'create',
            lambda *args: (made.append(args), create(*args)))
        layer = self.layer()
        self.attach(layer)
        piece = '/dev/mapper/vmthunder--cache-' + ONE.replace('-', '--')
        self.assertEqual([(f'vmthunder-flashcache-{ONE}', piece,
                           f'/dev/mapper/vmthunder-writable-{ONE}')], made)
        self.assertEqual(self.number('flashcache'), self.table('either')[8])
        layer.detach(ONE)
        self.assertEqual({}, self.kernel.volumes)

    def test_the_program_fails(self):
        def fail(*args):
            raise fake_engines.processutils.ProcessExecutionError(
                stderr='Device is mounted')

        self.kernel.patch(self, fake_engines.flashcache, 'create', fail)
        with self.assertRaisesRegex(exception.CacheError, 'is mounted'):
            self.attach(self.layer())


class OpenCasTest(EngineTestCase):

    LAYER = 'opencas'

    def test_lacking_on_todays_kernels(self):
        self.kernel.no_modules.add('cas_cache')
        with self.assertRaisesRegex(
                exception.ConfigurationError,
                'layer opencas .* no module cas_cache; install Open CAS .* '
                'or set cache = none') as caught:
            self.layer().verify()
        self.assertNotIn('\n', str(caught.exception))

    def test_the_cache_does_not_run(self):
        self.kernel.cas_status = 'Incomplete'
        with self.assertRaisesRegex(exception.ConfigurationError,
                                    'cache 1 runs.*--start-cache'):
            self.layer().verify()

    def test_another_cache(self):
        with self.assertRaisesRegex(exception.ConfigurationError,
                                    'cache 7 runs'):
            self.layer(opencas_cache_id=7).verify()

    def test_commands(self):
        layer = self.layer()
        layer.verify()
        self.attach(layer)
        self.assertEqual([ONE], layer.templates())
        self.assertEqual('1:cas1-0', self.table('either')[8])
        layer.detach(ONE)
        self.assertEqual([], layer.templates())
        disk = os.path.realpath(f'/dev/mapper/vmthunder-writable-{ONE}')
        self.assertEqual(
            [('casadm', '-A', '-i', '1', '-d', disk),
             ('casadm', '-R', '-f', '-i', '1', '-j', '0')],
            self.kernel.commands)

    def test_its_own_device_and_not_one_that_looks_like_it(self):
        layer = self.layer()
        path = f'/dev/mapper/vmthunder-writable-{ONE}'
        self.kernel.cores['cas1-9'] = path + '0'
        self.attach(layer)
        self.assertEqual('1:cas1-0', self.table('either')[8])


class SuperblockTest(unittest.TestCase):

    def test_checksum(self):
        # the check value of CRC-32C, but for its last inversion
        self.assertEqual(0xe3069283 ^ 0xffffffff,
                         dmcachesuperblock._crc32c(b'123456789'))

    def test_parse(self):
        for flags, expected in ((0, (False, False)), (1, (True, False)),
                                (3, (True, True))):
            found = dmcachesuperblock.parse(superblock(flags))
            self.assertEqual(expected, (found.clean, found.damaged))

    def test_what_is_none(self):
        good = superblock(1)
        for data in b'', bytes(4096), good[:-1] + b'x', good[:100]:
            self.assertIsNone(dmcachesuperblock.parse(data))
