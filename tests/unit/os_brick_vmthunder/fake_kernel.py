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

"""A kernel's block devices in memory, for tests of what works on them.

It stands for the privileged functions and for sysfs, knows who holds whom,
and can die before any privileged step.
"""

import errno
import os
import re
import shutil
import tempfile
from unittest import mock

from oslo_concurrency import processutils

from os_brick_vmthunder.caches import bcacheset
from os_brick_vmthunder.caches import needs
from os_brick_vmthunder.caches import superblock
from os_brick_vmthunder import locks
from os_brick_vmthunder.privileged import bcache
from os_brick_vmthunder.privileged import blockdev
from os_brick_vmthunder.privileged import dmsetup
from os_brick_vmthunder.privileged import files
from os_brick_vmthunder.privileged import loop
from os_brick_vmthunder.privileged import presence
from os_brick_vmthunder import sysfs

MIB = 1 << 20
_MEMORY = '/dev/shm'


def _below(table):
    """Return the devices that a table names."""
    return re.findall(r'1:(\S+)', table)


def _length(table):
    """Return a table's length in sectors."""
    return sum(int(line.split()[1]) for line in table.splitlines())


class Killed(BaseException):
    """The process died here."""


class FakeKernel:
    """Block devices by name, with their directories in a fake sysfs."""

    def __init__(self, test):
        # in memory: there are thousands of files
        self.root = tempfile.mkdtemp(
            dir=_MEMORY if os.path.isdir(_MEMORY) else None)
        test.addCleanup(shutil.rmtree, self.root)
        self.block = self.directory('block')
        self.sets = self.directory('bcache')
        self.tables = {}      # dm kernel name -> table
        self.loaded = {}      # dm kernel name -> table to come, read-only
        self.files = {}       # loop kernel name -> file or node
        self.nodes = {}       # node -> kernel name
        self.signatures = {}  # device path -> what blkid finds
        self.media = {}       # device path -> superblock bytes
        self.known = {}       # bcache: backing UUID -> was cached
        self.open = set()     # kernel names that some process has open
        self.free_space = 20 << 30
        self.no_modules = set()
        self.no_programs = set()
        self.steps = []
        self.die_before = None
        self.udev_registers = False
        for target, name, value in (
                (sysfs, '_BLOCK', self.block),
                (sysfs, 'number', self.number),
                (sysfs, 'kernel_name', self.kernel_name),
                (sysfs, 'directory', self.device_directory),
                (bcacheset, '_SETS', self.sets),
                (needs, '_LOADED', self.directory('module')),
                (bcacheset, '_MEMORY', self.memory(1000)),
                (locks, 'host_lock', mock.MagicMock())):
            self.patch(test, target, name, value)
        self.patch(test, sysfs.time, 'sleep', lambda seconds: None)
        for module, names in (
                (dmsetup, ('create', 'load', 'resume', 'suspend', 'clear',
                           'remove', 'table', 'status')),
                (loop, ('attach', 'share', 'detach')),
                (blockdev, ('contents', 'openers', 'make_node',
                            'remove_node')),
                (files, ('make_directory', 'remove')),
                (bcache, ('write_file', 'read', 'write_device', 'read_again',
                          'register', 'set_attribute', 'settle',
                          'compact_memory'))):
            kind = module.__name__.rsplit('.', 1)[1]
            for name in names:
                self.patch(test, module, name,
                           self._step(f'{kind}.{name}',
                                      getattr(self, f'_{kind}_{name}')))

        for name in ('exists', 'listing', 'free_space'):  # change nothing
            self.patch(test, files, name, getattr(self, f'_files_{name}'))
        self.patch(test, loop, 'find', self._loop_find)
        for name in ('load_module', 'has_program'):
            self.patch(test, presence, name,
                       getattr(self, f'_presence_{name}'))

    def patch(self, test, target, name, value):
        patch = mock.patch.object(target, name, value)
        patch.start()
        test.addCleanup(patch.stop)

    def _step(self, name, function):
        def step(*args):
            if self.die_before == len(self.steps):
                raise Killed(name)
            self.steps.append(name)
            return function(*args)
        return step

    # sysfs

    def directory(self, *path):
        path = os.path.join(self.root, *path)
        os.makedirs(path, exist_ok=True)
        return path

    def write(self, text, *path):
        self.directory(*path[:-1])
        with open(os.path.join(self.root, *path), 'w') as file:
            file.write(text)

    def add_disk(self, name, size, holder=None):
        self.write(f'{size // 512}\n', 'block', name, 'size')
        self.write('4 0 8 0 0\n', 'block', name, 'stat')
        self.write('512\n', 'block', name, 'queue', 'logical_block_size')
        self.directory('block', name, 'holders')

    def kernel_name(self, path):
        if path in self.nodes:
            return self.nodes[path]
        name = path.removeprefix('/dev/')
        if name.startswith('mapper/'):
            for kernel in self.tables:
                if path == '/dev/mapper/' + sysfs.attribute(kernel, 'dm',
                                                            'name'):
                    return kernel
        elif os.path.isdir(os.path.join(self.block, name)):
            return name
        raise OSError(errno.ENOENT, 'no such device', path)

    def device_directory(self, path):
        return os.path.join(self.block, self.kernel_name(path))

    def number(self, path):
        return '1:' + self.kernel_name(path)

    def hold(self, below, above):
        self.write('', 'block', below, 'holders', above)

    def release(self, above):
        for name in os.listdir(self.block):
            path = os.path.join(self.block, name, 'holders', above)
            if os.path.exists(path):
                os.unlink(path)

    def in_use(self, name):
        return name in self.open or bool(sysfs.listing(name, 'holders'))

    def names(self):
        return sorted(os.listdir(self.block))

    def _free(self, prefix):
        number = 0
        while os.path.exists(os.path.join(self.block, f'{prefix}{number}')):
            number += 1
        return f'{prefix}{number}'

    def _drop(self, name):
        self.release(name)
        shutil.rmtree(os.path.join(self.block, name))

    # device mapper

    def _dmsetup_create(self, name, uuid, table, readonly):
        kernel = self._free('dm-')
        self.add_disk(kernel, 0)
        self.write(name, 'block', kernel, 'dm', 'name')
        self.write(uuid, 'block', kernel, 'dm', 'uuid')
        self._work_by(kernel, table, readonly)
        if self.udev_registers and 'backing' in name:
            self._bcache_register(f'/dev/{kernel}')

    def _work_by(self, kernel, table, readonly):
        self.tables[kernel] = table
        self.release(kernel)
        for device in _below(table):
            assert os.path.isdir(os.path.join(self.block, device)), table
            self.hold(device, kernel)
        self.write(f'{_length(table)}\n', 'block', kernel, 'size')
        self.write(f'{int(readonly)}\n', 'block', kernel, 'ro')
        self.write('0', 'block', kernel, 'dm', 'suspended')

    def _dmsetup_load(self, name, table, readonly):
        kernel = self.kernel_name(f'/dev/mapper/{name}')
        if kernel in self.loaded and ' snapshot ' in table:
            raise processutils.ProcessExecutionError(
                stderr='Snapshot cow pairing for exception table handover '
                       'failed')
        self.loaded[kernel] = table, readonly

    def _dmsetup_resume(self, name):
        kernel = self.kernel_name(f'/dev/mapper/{name}')
        table, readonly = self.loaded.pop(
            kernel, (self.tables[kernel],
                     sysfs.attribute(kernel, 'ro') == '1'))
        if ' snapshot ' in table and _length(table) > int(
                sysfs.attribute(_below(table)[0], 'size')):
            self.write('1', 'block', kernel, 'dm', 'suspended')
            raise processutils.ProcessExecutionError(
                stderr='too small for target')
        self._work_by(kernel, table, readonly)

    def _dmsetup_suspend(self, name):
        kernel = self.kernel_name(f'/dev/mapper/{name}')
        self.write('1', 'block', kernel, 'dm', 'suspended')

    def _dmsetup_clear(self, name):
        self.loaded.pop(self.kernel_name(f'/dev/mapper/{name}'), None)

    def _dmsetup_remove(self, name):
        kernel = self.kernel_name(f'/dev/mapper/{name}')
        if self.in_use(kernel):
            raise processutils.ProcessExecutionError(
                stderr='Device or resource busy')
        del self.tables[kernel]
        self.loaded.pop(kernel, None)
        self._drop(kernel)

    def _dmsetup_table(self, name):
        return self.tables[self.kernel_name(f'/dev/mapper/{name}')] + '\n'

    def _dmsetup_status(self, name):
        raise NotImplementedError

    def _blockdev_contents(self, device):
        file = self.files.get(device.removeprefix('/dev/'))
        return self.signatures.get(file or device, '')

    def _blockdev_openers(self, device):
        return ['qemu (42)'] if device.split('/')[-1] in self.open else []

    def _blockdev_make_node(self, path, device):
        kernel = self.kernel_name(device)
        assert self.nodes.get(path) == kernel or (
            path not in self.files.values()), 'a node in use was replaced'
        self.nodes[path] = kernel

    def _blockdev_remove_node(self, path):
        assert path not in self.files.values(), 'a node in use was removed'
        self.nodes.pop(path, None)

    # files

    def _files_make_directory(self, path):
        os.makedirs(path, exist_ok=True)

    def _files_remove(self, path):
        if os.path.exists(path):
            os.unlink(path)

    def _files_exists(self, path):
        return os.path.exists(path)

    def _files_listing(self, path):
        return os.listdir(path) if os.path.isdir(path) else []

    def _files_free_space(self, path):
        return self.free_space

    # loops

    def _loop_find(self, path):
        return next(iter(loop._find_all(path)), None)

    def _loop_attach(self, path):
        for name, file in self.files.items():
            if file == path:
                return f'/dev/{name}'
        name = self._free('loop')
        self.files[name] = path
        self.add_disk(name, os.path.getsize(path))
        self.write(os.path.realpath(path), 'block', name, 'loop',
                   'backing_file')
        return f'/dev/{name}'

    def _loop_share(self, path, count):
        for _missing in range(count - len(loop._find_all(path))):
            name = self._free('loop')
            self.files[name] = path
            below = self.nodes[path]
            self.add_disk(name, 512 * int(sysfs.attribute(below, 'size')))
            self.write(path, 'block', name, 'loop', 'backing_file')
            self.hold(below, name)
        return loop._find_all(path)

    def _loop_detach(self, path):
        for name, file in list(self.files.items()):
            if file == path:
                assert not self.in_use(name), 'a loop in use was detached'
                del self.files[name]
                self._drop(name)

    # what there is

    def _presence_load_module(self, name):
        if name in self.no_modules:
            raise processutils.ProcessExecutionError(stderr='no module')

    def _presence_has_program(self, name):
        return name not in self.no_programs

    # bcache

    def _bcache_settle(self):
        pass

    def _bcache_compact_memory(self):
        self.memory(self.compacts_to)

    def memory(self, pieces, buckets=2):
        """Let there be memory for so many nodes of a set's tree.

        :param buckets: pieces among them of the size of a bucket.
        :returns: path of the file that says so.
        """
        self.compacts_to = pieces
        nodes = pieces - 4 * buckets
        self.write('Node 0, zone      DMA 9 9 9 9 9 9 9 0 0 0 0\n'
                   'Node 0, zone   Normal 1 1 1 1 1 1 1 '
                   f'{nodes % 2} {nodes // 2} {buckets} 0\n', 'buddyinfo')
        return os.path.join(self.root, 'buddyinfo')

    def _bcache_write_file(self, path, size, offset, data):
        assert path not in self.files.values(), 'written under a loop'
        with open(path, 'wb') as file:
            file.truncate(size)
            file.seek(offset)
            file.write(data)

    def _bcache_read(self, device, offset, length):
        return self.media.get(self._place(device, offset), b'')[:length]

    def _bcache_write_device(self, device, offset, data):
        self.media[self._place(device, offset)] = data

    def _place(self, device, offset):
        return device if offset == superblock.OFFSET else (device, offset)

    def _bcache_read_again(self, device, offset, length, times):
        assert sysfs.attribute(self.kernel_name(device), 'bcache',
                               'state') == 'clean'

    def _media(self, kernel):
        """Return the superblock on a device, through loops and tables."""
        offset = superblock.OFFSET
        if kernel in self.tables:
            first = self.tables[kernel].splitlines()[0].split()
            if first[2] != 'linear':
                return None
            offset += int(first[4]) * 512
            kernel = first[3].removeprefix('1:')
        if kernel not in self.files:
            return superblock.parse(self.media.get(f'/dev/{kernel}', b''))
        with open(self.files[kernel], 'rb') as file:
            file.seek(offset)
            return superblock.parse(file.read(superblock.LENGTH))

    def _bcache_register(self, device):
        kernel = self.kernel_name(device)
        found = self._media(kernel)
        if found is None or sysfs.exists(kernel, 'bcache'):
            return
        directory = self.directory('block', kernel, 'bcache')
        if found.is_cache:
            for name in bcacheset._CONGESTED:
                self.write('2000', 'bcache', found.set_id, name)
            self.write('0.5k', 'bcache', found.set_id, 'block_size')
            self.write('512.0k', 'bcache', found.set_id, 'cache0',
                       'bucket_size')
            self.write(str(int(sysfs.attribute(kernel, 'size')) // 1024),
                       'bcache', found.set_id, 'cache0', 'nbuckets')
            os.symlink(os.path.join(self.sets, found.set_id),
                       os.path.join(directory, 'set'))
            return
        name = self._free('bcache')
        self.add_disk(name, 512 * int(sysfs.attribute(kernel, 'size')) - MIB)
        self.hold(kernel, name)
        os.symlink(os.path.join(self.block, name),
                   os.path.join(directory, 'dev'))
        self.write('no cache', 'block', name, 'bcache', 'state')
        self.write('8192', 'block', name, 'bcache', 'sequential_cutoff')
        self.write(found.device_id, 'block', name, 'bcache', 'uuid')
        for count in ('hits', 'misses', 'bypass_hits', 'bypass_misses'):
            self.write('3', 'block', name, 'bcache', 'stats_total',
                       f'cache_{count}')
        if os.path.isdir(os.path.join(self.sets, found.set_id)):
            self._attach_to(name, found.set_id)

    def _attach_to(self, name, set_id):
        self.write('clean', 'block', name, 'bcache', 'state')
        self.write('', 'bcache', set_id, f'bdev-{name}')
        self.known[sysfs.attribute(name, 'bcache', 'uuid')] = True

    def _bcache_set_attribute(self, path, value):
        path = path.replace('/sys/class/block', self.block)
        kind, name = path.split('/')[-2:]
        if name == 'stop' and kind == 'bcache':
            self._stop_backing(path.split('/')[-3])
        elif name == 'stop':
            for kernel in self.names():
                if sysfs.link(kernel, 'bcache', 'set') == kind:
                    shutil.rmtree(os.path.join(self.block, kernel, 'bcache'))
            shutil.rmtree(os.path.join(self.sets, kind))
        elif name == 'attach':
            self._attach_to(path.split('/')[-3], value)
        elif name == 'detach':
            device = path.split('/')[-3]
            self.known.pop(sysfs.attribute(device, 'bcache', 'uuid'))
            self.write('no cache', 'block', device, 'bcache', 'state')
        else:
            assert os.path.exists(path), path
            with open(path, 'w') as file:
                file.write(value)

    def _stop_backing(self, kernel):
        name = sysfs.link(kernel, 'bcache', 'dev')
        if self.in_use(name):
            return
        for set_id in os.listdir(self.sets):
            member = os.path.join(self.sets, set_id, f'bdev-{name}')
            if os.path.exists(member):
                os.unlink(member)
        shutil.rmtree(os.path.join(self.block, kernel, 'bcache'))
        self._drop(name)
