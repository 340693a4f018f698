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

"""The privileged steps below caches and device mapper."""

import errno
import fcntl
import os
import struct
import tempfile
import unittest
from unittest import mock

from oslo_concurrency import processutils

from os_brick_vmthunder import privileged
from os_brick_vmthunder.privileged import bcache
from os_brick_vmthunder.privileged import blockdev
from os_brick_vmthunder.privileged import dmsetup
from os_brick_vmthunder.privileged import loop
from os_brick_vmthunder import sysfs


class PrivilegedTestCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        privileged.default.set_client_mode(False)
        self.addCleanup(privileged.default.set_client_mode, True)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = directory.name

    def patch(self, *args, **kwargs):
        patch = mock.patch.object(*args, **kwargs)
        self.addCleanup(patch.stop)
        return patch.start()


class DmsetupTest(PrivilegedTestCase):

    def setUp(self):
        super().setUp()
        self.execute = self.patch(dmsetup.processutils, 'execute',
                                  return_value=('out', ''))

    def test_create(self):
        dmsetup.create('n', 'u', '0 1 zero', True)
        dmsetup.create('n', 'u', '0 1 zero', False)
        self.assertEqual([
            mock.call('dmsetup', 'create', 'n', '--uuid', 'u', '--readonly',
                      process_input='0 1 zero'),
            mock.call('dmsetup', 'create', 'n', '--uuid', 'u',
                      process_input='0 1 zero')],
            self.execute.call_args_list)

    def test_another_table(self):
        dmsetup.load('n', '0 2 zero', True)
        dmsetup.load('n', '0 2 zero', False)
        dmsetup.resume('n')
        dmsetup.clear('n')
        self.assertEqual([
            mock.call('dmsetup', 'load', 'n', '--readonly',
                      process_input='0 2 zero'),
            mock.call('dmsetup', 'load', 'n', process_input='0 2 zero'),
            # a map fails requests while it is being flushed
            mock.call('dmsetup', 'resume', '--noflush', 'n',
                      process_input=None),
            mock.call('dmsetup', 'clear', 'n', process_input=None)],
            self.execute.call_args_list)

    def test_others(self):
        dmsetup.remove('n')
        dmsetup.settle('n')
        self.assertEqual(['out', 'out', 'out'],
                         [dmsetup.table('n'), dmsetup.status('n'),
                          dmsetup.message('n', '@stats_list me')])
        self.assertEqual(
            [('dmsetup', 'remove', '--retry', 'n'),
             ('dmsetup', 'status', 'n'),
             ('dmsetup', 'table', 'n'),
             ('dmsetup', 'status', '--noflush', 'n'),
             ('dmsetup', 'message', 'n', '0', '@stats_list me')],
            [call.args for call in self.execute.call_args_list])


class BlockdevTest(PrivilegedTestCase):

    def test_contents(self):
        execute = self.patch(blockdev.processutils, 'execute')
        for output, expected in (('DEVNAME=/dev/x\nTYPE=ext4\n', 'ext4'),
                                 ('PTTYPE=dos\n', 'dos'), ('', '')):
            execute.return_value = (output, '')
            self.assertEqual(expected, blockdev.contents('/dev/x'))

    def test_openers(self):
        path = os.path.join(self.root, 'device')
        with open(path, 'w'):
            self.patch(blockdev, '_number', lambda name: (
                7 if os.path.realpath(name) == path else 0))
            self.patch(blockdev.os, 'stat',
                       return_value=mock.Mock(st_rdev=7))
            found = blockdev.openers(path)
        self.assertEqual(1, len(found))
        self.assertIn(f'({os.getpid()})', found[0])

    def test_set_running(self):
        opened = self.patch(blockdev, 'open', mock.mock_open(), create=True)
        blockdev.set_running('sdb')
        opened.assert_called_once_with('/sys/class/block/sdb/device/state',
                                       'w')
        # without the end of the line, the kernel refuses it
        opened().write.assert_called_once_with('running\n')

    def test_rescan(self):
        opened = self.patch(blockdev, 'open', mock.mock_open(), create=True)
        blockdev.rescan('sdb')
        opened.assert_called_once_with('/sys/class/block/sdb/device/rescan',
                                       'w')
        opened().write.assert_called_once_with('1')

    def test_number(self):
        self.assertEqual(os.stat('/dev/null').st_rdev,
                         blockdev._number('/dev/null'))
        self.assertEqual(0, blockdev._number(f'{self.root}/nothing'))


class BcacheTest(PrivilegedTestCase):

    def test_files(self):
        path = os.path.join(self.root, 'file')
        bcache.write_file(path, 1 << 20, 4096, b'data')
        self.assertEqual((1 << 20, b'\0data\0'),
                         (os.path.getsize(path), bcache.read(path, 4095, 6)))
        bcache.write_device(path, 0, b'more')
        self.assertEqual(b'more\0', bcache.read(path, 0, 5))
        self.assertEqual(['file'], os.listdir(os.path.dirname(path)))

    def test_read_again(self):
        self.patch(bcache.os, 'O_DIRECT', 0)
        preadv = self.patch(bcache.os, 'preadv')
        path = os.path.join(self.root, 'file')
        bcache.write_file(path, 8192, 0, b'')
        bcache.read_again(path, 4096, 4096, 3)
        self.assertEqual([4096] * 3,
                         [call.args[2] for call in preadv.call_args_list])

    def test_sysfs(self):
        path = os.path.join(self.root, 'attribute')
        bcache.write_file(path, 0, 0, b'')
        self.patch(bcache, '_REGISTER', path)
        bcache.register('/dev/x')
        self.assertEqual(b'/dev/x', bcache.read(path, 0, 9))
        self.patch(bcache, '_SYSFS', (self.root,))
        bcache.set_attribute(path, '0')
        self.assertEqual(b'0dev/x', bcache.read(path, 0, 9))

    def test_only_attributes_of_bcache(self):
        for path in '/etc/passwd', '/sys/fs/bcache/../../../etc/passwd':
            self.assertRaises(ValueError, bcache.set_attribute, path, '1')

    def test_settle(self):
        execute = self.patch(
            bcache.processutils, 'execute',
            side_effect=processutils.ProcessExecutionError)
        bcache.settle()
        execute.assert_called_once_with('udevadm', 'settle', '--timeout=30')

    def test_compact_memory(self):
        write = self.patch(bcache, '_write', side_effect=OSError)
        bcache.compact_memory()
        write.assert_called_once_with('/proc/sys/vm/compact_memory', '1')


class NodeTest(PrivilegedTestCase):

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.root, 'dir', 'node')
        self.numbers = {'/dev/dm-1': 11, '/dev/dm-2': 12}
        self.stat = os.stat
        self.patch(blockdev.os, 'stat', self.status)
        self.made = self.patch(blockdev.os, 'mknod',
                               side_effect=self.make)
        self.unlinked = self.patch(blockdev.os, 'unlink',
                                   side_effect=self.unlink)

    def status(self, path, **options):
        if path in self.numbers:
            return mock.Mock(st_rdev=self.numbers[path])
        return self.stat(path, **options)

    def make(self, path, mode, number):
        self.assertTrue(os.path.isdir(os.path.dirname(path)))
        self.assertNotIn(path, self.numbers)
        self.numbers[path] = number

    def unlink(self, path):
        if path not in self.numbers:
            raise FileNotFoundError(path)
        del self.numbers[path]

    def test_made_once(self):
        blockdev.make_node(self.path, '/dev/dm-1')
        blockdev.make_node(self.path, '/dev/dm-1')
        self.assertEqual(11, self.numbers[self.path])
        self.assertEqual(1, self.made.call_count)

    def test_stale_one_is_replaced(self):
        blockdev.make_node(self.path, '/dev/dm-1')
        blockdev.make_node(self.path, '/dev/dm-2')
        self.assertEqual(12, self.numbers[self.path])

    def test_removed_once(self):
        blockdev.make_node(self.path, '/dev/dm-1')
        blockdev.remove_node(self.path)
        blockdev.remove_node(self.path)
        self.assertNotIn(self.path, self.numbers)


class LoopTest(PrivilegedTestCase):

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.root, 'file')
        with open(self.path, 'w'):
            pass
        self.loops = {}
        self.patch(sysfs, 'names', lambda prefix: list(self.loops))
        self.patch(sysfs, 'attribute',
                   lambda name, *path: self.loops.get(name))
        self.patch(loop.os, 'open', return_value=99)
        self.patch(loop.os, 'close')
        self.patch(loop.os.path, 'exists', return_value=True)
        self.ioctl = self.patch(fcntl, 'ioctl', side_effect=self.control)
        self.taken = 0

    def control(self, handle, request, config=None):
        if request == loop._GET_FREE:
            return self.taken
        if request == loop._CLEAR:
            self.loops.clear()
        elif request == loop._CONFIGURE:
            if self.taken < 2:  # another process was faster
                self.taken += 1
                raise OSError(errno.EBUSY, 'busy')
            self.assertEqual(304, len(config))
            self.loops[f'loop{self.taken}'] = self.path
        return 0

    def test_attach_and_detach(self):
        self.assertEqual('/dev/loop2', loop.attach(self.path))
        self.assertEqual('/dev/loop2', loop.attach(self.path))
        self.assertEqual('/dev/loop2', loop.find(self.path))
        loop.detach(self.path)
        loop.detach(self.path)
        self.assertIsNone(loop.find(self.path))

    def test_share_adds_what_is_missing(self):
        self.patch(loop.os, 'posix_fadvise')
        self.loops['loop1'] = self.path
        self.loops['loop2'] = 'another'
        self.taken = 3

        def count_up(handle, request, config=None):
            if request == loop._GET_FREE:
                self.taken += 1
                return self.taken
            flags = struct.unpack_from('=II 5Q 3I I', config)[-1]
            self.assertEqual(loop._READ_ONLY, flags)
            self.loops[f'loop{self.taken}'] = self.path
            return 0

        self.ioctl.side_effect = count_up
        three = ['/dev/loop1', '/dev/loop4', '/dev/loop5']
        self.assertEqual(three, loop.share(self.path, 3))
        self.assertEqual(three, loop.share(self.path, 3))
        self.assertEqual(2, loop.os.posix_fadvise.call_count)

    def test_a_loop_that_vanished_is_no_error(self):
        self.loops['loop0'] = self.path

        def gone(handle, request):
            self.loops.clear()
            raise OSError(errno.ENXIO, 'gone')

        self.ioctl.side_effect = gone
        loop.detach(self.path)

    def test_a_loop_in_use(self):
        self.loops['loop0'] = self.path
        self.ioctl.side_effect = None
        self.patch(sysfs, 'wait', lambda condition: False)
        self.assertRaisesRegex(OSError, 'in use', loop.detach, self.path)

    def test_errors_of_the_kernel_are_told(self):
        self.loops['loop0'] = self.path
        self.ioctl.side_effect = OSError(errno.EPERM, 'not permitted')
        self.assertRaisesRegex(OSError, 'permitted', loop.detach, self.path)

    def test_no_free_loop(self):
        self.patch(loop, '_configure_free', return_value=None)
        self.assertRaisesRegex(OSError, 'no free loop', loop.attach,
                               self.path)

    def test_a_node_that_went(self):
        def opened(path, flags):
            if path == '/dev/loop0':
                self.taken = 5
                raise OSError(errno.ENXIO, 'gone')
            return 99

        self.patch(loop.os, 'open', side_effect=opened)
        self.assertEqual('/dev/loop5', loop.attach(self.path))

    def test_refused(self):
        def refuse(handle, request, config=None):
            if request == loop._CONFIGURE:
                raise OSError(errno.EPERM, 'not permitted')
            return 0

        self.ioctl.side_effect = refuse
        self.assertRaisesRegex(OSError, 'permitted', loop.attach, self.path)


class WrittenTest(PrivilegedTestCase):

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.root, 'device')
        with open(self.path, 'wb') as file:
            file.write(b'x' * 16384)
        # the file system of a temporary directory may not know O_DIRECT
        self.patch(blockdev.os, 'O_DIRECT', 0)

    def test_zero(self):
        blockdev.zero(self.path, 8192)
        with open(self.path, 'rb') as file:
            self.assertEqual(bytes(8192) + b'x' * 8192, file.read())

    def test_zero_that_ends_early(self):
        self.patch(blockdev.os, 'pwritev', return_value=512)
        self.assertRaisesRegex(OSError, 'short', blockdev.zero, self.path,
                               8192)

    def test_start(self):
        blockdev.write_start(self.path, b'y' * 4096)
        self.assertEqual(b'y' * 4096 + b'x' * 4096,
                         blockdev.read_start(self.path, 8192))
        self.assertEqual(16384, len(blockdev.read_start(self.path, 1 << 20)))

    def test_start_that_ends_early(self):
        self.patch(blockdev.os, 'pwritev', return_value=512)
        self.assertRaisesRegex(OSError, 'short', blockdev.write_start,
                               self.path, b'y' * 4096)

    def test_flush(self):
        order = []
        self.patch(blockdev.os, 'fsync', lambda handle: order.append('sync'))
        self.patch(fcntl, 'ioctl',
                   lambda handle, request: order.append(hex(request)))
        blockdev.flush(self.path)
        self.assertEqual(['sync', '0x1261'], order)
