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

"""What every cache layer promises, on a kernel in memory."""

import os
import unittest

import ddt

from os_brick_vmthunder import caches
from os_brick_vmthunder.caches import base
from os_brick_vmthunder.caches import coalescing
from os_brick_vmthunder import conf
from os_brick_vmthunder import exception
from os_brick_vmthunder import sysfs
from tests.unit.os_brick_vmthunder import fake_engines
from tests.unit.os_brick_vmthunder import fake_kernel

MIB = fake_kernel.MIB
ONE = '6a1b0c3e-0000-4000-8000-000000000001'
TWO = '6a1b0c3e-0000-4000-8000-000000000002'
SIZE = 24 * MIB + 1536
LAYERS = ('bcache', 'dm-cache', 'flashcache', 'opencas', 'none')
# What these keep is still there when a template was detached in order.
KEEPING = LAYERS[:2]


@ddt.ddt
class ContractTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.kernel = fake_engines.FakeKernel(self)
        self.kernel.add_disk('sdx', 32 * MIB)
        os.mkdir(os.path.join(self.kernel.root, 'state'))
        # all that there are would take minutes
        self.kernel.patch(self, coalescing, '_LOOPS', 2)
        self.kernel.free_space = 64 << 30

    def layer(self, name):
        state = os.path.join(self.kernel.root, 'state')
        return caches.create(conf.HostConfig(
            cache=name, state_dir=state,
            cache_file=os.path.join(state, 'cache.img')))

    def left(self):
        """Return the devices that are there besides source and cache."""
        return [name for name in self.kernel.names()
                if name != 'sdx' and not
                self.kernel.files.get(name, '').endswith('cache.img')]

    @ddt.data(*LAYERS)
    def test_verify_touches_nothing(self, name):
        self.layer(name).verify()
        self.assertEqual([], self.kernel.steps)
        self.assertEqual(['sdx'], self.kernel.names())

    @ddt.data(*LAYERS)
    def test_attach(self, name):
        layer = self.layer(name)
        self.assertIsNone(layer.device(ONE))
        path = layer.attach(ONE, '/dev/sdx', SIZE)
        self.assertEqual(path, layer.device(ONE))
        self.assertEqual(SIZE, sysfs.size(path))
        steps = list(self.kernel.steps)
        self.assertEqual(path, layer.attach(ONE, '/dev/sdx', SIZE))
        self.assertEqual(steps, self.kernel.steps)
        self.assertIsNone(layer.device(TWO))
        self.assertIsNone(layer.stats(TWO))
        self.assertIsInstance(layer.stats(ONE), base.CacheStats)

    @ddt.data(*LAYERS)
    def test_requests_are_split_up_to_the_last_sector(self, name):
        path = self.layer(name).attach(ONE, '/dev/sdx', SIZE)
        table = self.kernel.tables[sysfs.kernel_name(path)].splitlines()
        self.assertEqual([['0', '49152', 'striped', '1', '32'],
                          ['49152', '3', 'linear']],
                         [table[0].split()[:5], table[1].split()[:3]])

    @ddt.data(*LAYERS)
    def test_detach(self, name):
        layer = self.layer(name)
        layer.attach(ONE, '/dev/sdx', SIZE)
        layer.attach(TWO, '/dev/sdx', SIZE)
        layer.detach(ONE)
        layer.detach(ONE)
        self.assertIsNone(layer.device(ONE))
        self.assertIsNotNone(layer.device(TWO))
        layer.detach(TWO)
        self.assertEqual([], self.left())

    @ddt.data(*LAYERS)
    def test_a_device_in_use_stays(self, name):
        layer = self.layer(name)
        path = layer.attach(ONE, '/dev/sdx', SIZE)
        kernel = sysfs.kernel_name(path)
        self.kernel.open.add(kernel)
        for call in (lambda: layer.detach(ONE), lambda: layer.forget(ONE),
                     layer.clear):
            with self.assertRaises(exception.DeviceBusy) as caught:
                call()
            self.assertIn(path, str(caught.exception))
        self.assertEqual(path, layer.device(ONE))
        self.kernel.open.clear()
        layer.detach(ONE)
        self.assertEqual([], self.left())

    @ddt.data(*LAYERS)
    def test_a_source_that_is_too_small(self, name):
        layer = self.layer(name)
        with self.assertRaisesRegex(exception.CacheError, ONE):
            layer.attach(ONE, '/dev/sdx', 33 * MIB)
        self.assertEqual([], self.left())

    @ddt.data(*LAYERS)
    def test_clear(self, name):
        layer = self.layer(name)
        layer.attach(ONE, '/dev/sdx', SIZE)
        layer.detach(ONE)
        layer.clear()
        layer.clear()
        self.assertEqual([], layer.templates())
        self.assertEqual(['sdx'], self.kernel.names())
        self.assertEqual([], os.listdir(self.kernel.sets))
        files = [name for _dir, _dirs, names
                 in os.walk(os.path.join(self.kernel.root, 'state'))
                 for name in names]
        self.assertEqual([], files)

    @ddt.data(*LAYERS)
    def test_forget(self, name):
        layer = self.layer(name)
        for template_id in ONE, TWO:
            layer.attach(template_id, '/dev/sdx', SIZE)
            layer.detach(template_id)
        layer.forget(ONE)
        layer.forget(ONE)
        self.assertNotIn(ONE, layer.templates())
        self.assertNotIn(ONE, self.kernel.known)
        self.assertEqual([], self.left())
        self.assertEqual(name == 'bcache', TWO in self.kernel.known)
        self.assertEqual(name in KEEPING, TWO in layer.templates())

    @ddt.data(*((name, step, udev) for name in LAYERS
                for step in ('attach', 'detach', 'forget', 'clear')
                for udev in (False, True) if not udev or name == 'bcache'))
    @ddt.unpack
    def test_killed_anywhere_and_called_again(self, name, step, udev):
        self.kernel.udev_registers = udev
        layer = self.layer(name)
        if step in ('forget', 'clear'):
            layer.attach(ONE, '/dev/sdx', SIZE)
            layer.detach(ONE)
        call = {'attach': lambda: layer.attach(ONE, '/dev/sdx', SIZE),
                'detach': lambda: layer.detach(ONE),
                'forget': lambda: layer.forget(ONE),
                'clear': layer.clear}[step]
        survived, before = False, 0
        keeps = name in KEEPING
        while not survived:
            if step == 'attach':
                layer.detach(ONE)
                layer.clear()
            else:
                layer.attach(ONE, '/dev/sdx', SIZE)
                if step != 'detach':
                    layer.detach(ONE)
            self.kernel.steps.clear()
            self.kernel.die_before = before
            try:
                call()
                survived = True
            except fake_kernel.Killed:
                pass
            self.kernel.die_before = None
            call()
            if step == 'attach':
                self.assertEqual(SIZE, sysfs.size(layer.device(ONE)))
                layer.detach(ONE)
            self.assertEqual([], self.left())
            before += 1
        if name != 'none' and (keeps or step in ('attach', 'detach')):
            self.assertGreater(before, 2)
