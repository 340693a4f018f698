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

"""The fake kernel with LVM, flashcache and Open CAS."""

from os_brick.caches import opencas
from oslo_concurrency import processutils

from os_brick_vmthunder.caches import place
from os_brick_vmthunder.privileged import flashcache
from os_brick_vmthunder.privileged import lvmcommands
from os_brick_vmthunder import sysfs
from tests.unit.os_brick_vmthunder import fake_kernel

_LOOKS = ('lvs', 'pvs', 'vgs', '-L')


def _option(arguments, name):
    return arguments[arguments.index(name) + 1]


class FakeKernel(fake_kernel.FakeKernel):
    """One volume group at most, and one cache of Open CAS."""

    def __init__(self, test):
        self.group = None     # the file or device that it is on
        self.volumes = {}     # name -> bytes
        self.cores = {}       # name of a core -> path of its disk
        self.commands = []
        self.cas_status = 'Running'
        super().__init__(test)
        self.patch(test, lvmcommands, 'run', self._lvm)
        self.patch(test, flashcache, 'create',
                   self._step('flashcache.create', self._flashcache))
        self.patch(test, opencas.OpenCASEngine, 'os_execute',
                   lambda engine, *command, **options: self._casadm(*command))
        self.patch(test, place.sysfs, 'has_node', self._has_node)

    def _has_node(self, path):
        try:
            return bool(self.kernel_name(path))
        except OSError:
            return False

    def _lvm(self, command, *arguments):
        assert arguments[0] == '--devices'
        look = getattr(self, f'_{command}')
        if command in _LOOKS:
            return look(arguments)
        self.commands.append((command, *arguments))
        return self._step(f'lvm.{command}', look)(arguments)

    def _pvs(self, arguments):
        if self.group != self._medium(arguments):
            raise processutils.ProcessExecutionError(stderr='no PV')
        return '  vmthunder-cache\n'

    def _lvs(self, arguments):
        return ''.join(f'  {name}\n' for name in self.volumes)

    def _vgs(self, arguments):
        device = self.kernel_name(_option(arguments, '--devices'))
        size = 512 * int(sysfs.attribute(device, 'size'))
        return f'  {size - sum(self.volumes.values())}\n'

    def _vgcreate(self, arguments):
        self.group = self._medium(arguments)
        return ''

    def _blockdev_contents(self, device):
        if self.group and self.group in (
                device, self.files.get(device[5:]), device[5:]):
            return 'LVM2_member'
        return super()._blockdev_contents(device)

    def _medium(self, arguments):
        device = self.kernel_name(_option(arguments, '--devices'))
        return self.files.get(device, device)

    def _vgremove(self, arguments):
        self.group = None
        self.volumes.clear()
        return ''

    def _lvcreate(self, arguments):
        name = _option(arguments, '--name')
        self.volumes[name] = int(_option(arguments, '--size')[:-1])
        self._activate(arguments, name)
        return ''

    def _lvchange(self, arguments):
        self._activate(arguments, arguments[-1].split('/')[1])
        return ''

    def _lvremove(self, arguments):
        name = arguments[-1].split('/')[1]
        if self._has_node('/dev/mapper/' + self._mapped(name)):
            self._dmsetup_remove(self._mapped(name))
        del self.volumes[name]
        return ''

    def _mapped(self, name):
        return 'vmthunder--cache-' + name.replace('-', '--')

    def _activate(self, arguments, name):
        device = self.kernel_name(_option(arguments, '--devices'))
        mapped = self._mapped(name)
        if not self._has_node('/dev/mapper/' + mapped):
            self._dmsetup_create(
                mapped, f'LVM-{name}', f'0 {self.volumes[name] // 512} linear '
                f'1:{device} 0', False)

    def _dmsetup_status(self, name):
        table = self._dmsetup_table(name).split()
        assert table[2] == 'cache'
        return ('0 49155 cache 8 13/1536 128 1/512 3 4 0 0 0 1 0 2 metadata2 '
                'writethrough 2 migration_threshold 131072 smq 0 rw - ')

    def _flashcache(self, name, cache, disk):
        cache, disk = self.kernel_name(cache), self.kernel_name(disk)
        size = sysfs.attribute(disk, 'size')
        self._dmsetup_create(
            name, '', f'0 {size} flashcache 1:{disk} 1:{cache}', False)

    def _casadm(self, *command):
        if command == ('casadm', '-L'):
            return self._cores(), ''
        self.commands.append(command)
        return self._step(f'casadm.{command[1]}', self._change)(*command)

    def _change(self, _program, action, *arguments):
        if action == '-A':
            device, path = self._free('cas1-'), _option(arguments, '-d')
            disk = self.kernel_name(path)
            self.add_disk(device, 512 * int(sysfs.attribute(disk, 'size')))
            self.hold(disk, device)
            self.cores[device] = path
        else:
            device = f'cas1-{_option(arguments, "-j")}'
            assert not self.in_use(device), 'a core in use was removed'
            del self.cores[device]
            self._drop(device)
        return '', ''

    def _cores(self):
        lines = ['type   id  disk          status   write policy  device',
                 f'cache  1   /dev/nvme0n1  {self.cas_status}  wa       -']
        lines += [f'└core  {device[5:]}  {path}  Active  -  /dev/{device}'
                  for device, path in self.cores.items()]
        return '\n'.join(lines) + '\n'
