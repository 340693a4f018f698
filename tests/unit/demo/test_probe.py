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


import subprocess
import unittest
from unittest import mock

from demo import fetches
from demo import probe
from tests.unit.demo import kernel

TEMPLATE = 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee'
TARGET = 'sys/kernel/config/target'


class ProbeTest(unittest.TestCase):
    """Over files as a host's kernel has them."""

    def setUp(self):
        super().setUp()
        self.sysfs = kernel.Sysfs(self)
        self.area = fetches.Area(0, 8, 8)
        for module, name, value in (
                (probe, '_ROOT', self.sysfs.root),
                (fetches, 'take', self.take),
                (fetches, 'baseline', lambda: 4096)):
            patch = mock.patch.object(module, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def take(self, template):
        self.sysfs.file(f'sys/class/block/{template.kernel}/stat',
                        '8 0 122 1')
        return [self.area]

    def template(self):
        self.sysfs.disk('sda', 100, 'template')
        self.sysfs.disk('sdb', 20, 'relay')
        self.sysfs.disk('sdc', 9999, 'diff')
        self.sysfs.device(0, 'template', 'mpath-x', ('sda', 'sdb'))
        self.sysfs.file('sys/class/block/dm-0/stat', '7 0 120 1')
        self.sysfs.device(1, 'diff', 'mpath-other', ('sdc',))

    def test_look(self):
        self.template()
        self.sysfs.device(2, 'b', f'VMTHUNDER-backing-{TEMPLATE}')
        self.sysfs.disk('bcache0', 500)
        backing = self.sysfs.block / 'dm-2/bcache'
        backing.mkdir()
        (backing / 'dev').symlink_to('../../bcache0')
        self.assertEqual(
            probe.Look(20, 112 * 512, 114 * 512, 500 * 512, [self.area]),
            probe.look())

    def test_look_without_cache(self):
        self.template()
        self.assertEqual(0, probe.look().cache_bytes)

    def test_look_at_nothing(self):
        with self.assertRaises(LookupError):
            probe.look()

    def test_nothing_left(self):
        self.sysfs.file(f'{TARGET}/core/iblock_0/hba_info')
        self.sysfs.file('proc/1/comm', 'python')
        self.sysfs.file('var/lib/nova/instances/compute_nodes')
        self.assertEqual([], probe.leftovers())

    def test_leftovers(self):
        self.template()
        left = (f'{TARGET}/iscsi/iqn.2010-10.org.openstack:x',
                f'{TARGET}/core/iblock_0/iqn.x',
                'sys/class/iscsi_session/session3',
                'run/vmthunder/x', 'etc/libvirt/qemu/instance-1.xml',
                f'var/lib/nova/instances/{TEMPLATE}')
        for path in left:
            self.sysfs.file(f'{path}/x')
        self.sysfs.file('proc/77/comm', 'qemu-system-x86')
        self.assertEqual(
            {'device template', 'device diff', 'QEMU, process 77',
             *(f'/{path}' for path in left)}, set(probe.leftovers()))

    def test_backend_leftovers(self):
        self.sysfs.file(f'{TARGET}/iscsi/iqn.x/x')
        result = mock.Mock(stdout='  template-1\n  pool\n  volume-2\n')
        with mock.patch.object(subprocess, 'run', return_value=result) as run:
            self.assertEqual([f'/{TARGET}/iscsi/iqn.x', 'volume-2'],
                             probe.backend_leftovers('group'))
        self.assertEqual('group', run.call_args.args[0][-1])
