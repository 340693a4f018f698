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

"""Volumes in vmm mode, with QEMU as the hypervisor."""

import uuid

from cinder_vmthunder import exception
from os_brick_vmthunder import exception as brick_exception
from tests.functional import base
from tests.functional import compute
from tests.functional import content
from tests.functional import hypervisor
from tests.functional import initiator
from tests.functional import operations
from tests.functional import test_host_stack
from tests.functional import test_plain_iscsi
from tests.functional import test_templates
from tests.functional import volumes
from tests.lab import brick

GIB = 1 << 30
ONE, TWO = b'1' * 400, b'2' * 400
SERVER = '5e7e7e7e-0000-4000-8000-000000000001'


def writing(text):
    """Return commands that write a text to where ``content`` looks."""
    return [*(f'write -P {text[0]} {place} {len(text)}'
              for place in content.PLACES), 'flush']


def reading(text):
    return [f'read -P {text[0]} {place} {len(text)}'
            for place in content.PLACES]


class OverlayTestCase(test_templates.TemplatesTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.storage.preload('tests.functional.operations')
        cls.hosts = [base.get_host(spec) for spec in test_host_stack.COMPUTE]
        for host in cls.hosts:
            host.preload(*brick.MODULES, 'tests.functional.hypervisor')
        cls.connectors = [host.call(hypervisor.properties, host.address)
                          for host in cls.hosts]

    def setUp(self):
        super().setUp()
        self.volume = self.create(mode='vmm')
        self.addCleanup(self.clean_up)
        self.there = {}  # what each host was told

    def clean_up(self):
        """Leave nothing of a failed test to the next one."""
        for number in list(self.there):
            self.hosts[number].call(hypervisor.stop)
            self.detach(number)

    def attach(self, number, **keywords):
        info = self.call(volumes.attach, self.volume,
                         self.connectors[number], **keywords)
        self.assertEqual('vmthunder', info['driver_volume_type'])
        self.there[number] = info['data']
        return self.on(number, hypervisor.connect, info['data'])

    def detach(self, number):
        data = self.there.pop(number)
        self.on(number, compute.disconnect, data)
        self.call(volumes.detach, self.volume, self.connectors[number])
        self.assertEqual([], self.on(number, compute.leftovers))

    def on(self, number, function, *args):
        return self.hosts[number].call(function, *args, timeout=180)

    def do(self, number, *commands):
        self.assertEqual([], self.on(number, hypervisor.io, *commands))

    def assertHolds(self, text, size=1, volume=None):
        """Look at a volume as uploading it does."""
        self.assertEqual([], self.call(
            operations.run, 'look', volume or self.volume, content.Content(
                self.image, test_templates.SIZE, size, text)))


class OverlayTest(OverlayTestCase):

    def test_in_use(self):
        info = self.attach(0)
        self.assertEqual(
            {'type': 'block', 'format': 'qcow2',
             'path': f'/dev/mapper/vmthunder-{self.volume}',
             'backing': f'/dev/mapper/vmthunder-{self.volume}-origin'}, info)
        # who doesn't name what is below fails, and reads no zeroes
        said = self.hosts[0].run('qemu-io', '-r', '-f', 'qcow2', '-c',
                                 'read 0 4k', info['path'], check=False)
        self.assertIn("Unknown protocol 'vmthunder'", said.stderr)
        self.on(0, hypervisor.start, info)
        self.do(0, *writing(ONE))
        self.assertHolds(ONE)
        snapshot, copy, larger = (str(uuid.uuid4()) for _each in range(3))
        self.call(operations.run, 'snapshot', self.volume, snapshot)
        self.do(0, *writing(TWO))
        self.call(operations.run, 'clone', self.volume, copy)
        self.call(operations.run, 'from_snapshot', self.volume, snapshot,
                  larger, 2)
        self.extend_in_use()
        self.on(0, hypervisor.stop)
        self.detach(0)

        self.assertHolds(TWO, volume=copy)
        self.assertHolds(ONE, 2, larger)
        self.assertHolds(TWO, 2)
        self.call(operations.run, 'revert', self.volume, snapshot)
        self.assertHolds(ONE, 2)
        self.call(operations.run, 'delete_snapshot', self.volume, snapshot)

    def extend_in_use(self):
        self.call(operations.run, 'extend', self.volume, 2)
        self.assertEqual(2 * GIB, self.on(0, compute.extend, self.there[0]))
        self.on(0, hypervisor.resize, 2 * GIB)
        end = 2 * GIB - 512
        self.do(0, f'read -P 0 {GIB} 1M', f'write -P 7 {end} 512',
                f'read -P 7 {end} 512', f'write -P 0 {end} 512', 'flush')

    def test_extended_before_it_is_attached(self):
        self.call(operations.run, 'extend', self.volume, 3)
        self.on(0, hypervisor.start, self.attach(0))
        self.do(0, f'write -P 9 {3 * GIB - 512} 512', f'read -P 0 {GIB} 1M',
                'flush', 'write 800M 4M')
        # one that its hypervisor was not told of
        self.call(operations.run, 'extend', self.volume, 4)
        self.on(0, hypervisor.kill)
        self.detach(0)
        self.on(1, hypervisor.start, self.attach(1))
        self.do(1, f'read -P 9 {3 * GIB - 512} 512',
                f'write -P 0 {3 * GIB - 512} 512', 'write -P 0 800M 4M',
                f'write -P 0 {4 * GIB - 512} 512')
        self.on(1, hypervisor.stop)
        self.detach(1)
        self.assertHolds(b'', 4)

    def test_who_would_take_it_for_a_disk(self):
        info = self.call(volumes.attach, self.volume, self.connectors[0])
        with self.assertRaises(brick_exception.ModeNotOffered):
            self.on(0, compute.connect, info['data'])
        self.assertEqual([], self.on(0, compute.leftovers))
        self.call(volumes.detach, self.volume, self.connectors[0])


class MigrationTest(OverlayTestCase):

    def test_handed_over_by_qemu(self):
        one, two = self.hosts
        self.on(0, hypervisor.start, self.attach(0))
        self.do(0, *writing(ONE))
        with self.assertRaises(exception.AttachedElsewhere):
            self.attach(1, there=self.connectors[0])
        info = self.attach(1, there=self.connectors[0], server=SERVER)
        self.on(1, hypervisor.await_migration, info)
        self.do(0, *writing(TWO))  # not flushed on its way there
        self.assertEqual('completed', self.on(0, hypervisor.migrate,
                                              two.address))
        self.do(1, *reading(TWO), *writing(ONE))
        self.call(volumes.restart, self.volume, self.connectors[1])

        # the manager takes the source away, and the target stays
        self.on(0, hypervisor.stop)
        (disk, *_others) = self.disks(0)
        self.call(volumes.detach, self.volume, self.connectors[0])
        self.assertFalse(one.call(initiator.reads, disk))
        self.do(1, *reading(ONE), *writing(TWO))
        self.on(0, compute.disconnect, self.there.pop(0))
        self.assertEqual([], self.on(0, compute.leftovers))
        self.on(1, hypervisor.stop)
        self.detach(1)
        self.assertHolds(TWO)

    def disks(self, number):
        said = self.hosts[number].run(
            'grep -l ^diff /sys/block/sd*/device/model', shell=True).stdout
        return [f'/dev/{line.split("/")[3]}' for line in said.splitlines()]


class PlainTest(test_plain_iscsi.PlainTest):
    """On hosts that know nothing of VMThunder."""

    MODE = 'vmm'

    def test_process_of_qemu_dies(self):
        disk, _data = self.attach()
        self.write(disk)
        self.storage.run('pkill', '-KILL', 'qemu-nbd')
        self.assertFalse(self.client.call(initiator.reads, disk))
        self.detach()
        self.assertEqual([], self.leftovers())
        disk, _data = self.attach()
        self.assertHolds(disk)
        self.detach()
        self.assertEqual([], self.leftovers())
