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

"""With QEMU's own tools, on files."""

import json
import os
import subprocess
import tempfile
import unittest
from unittest import mock

from oslo_concurrency import processutils

from os_brick_vmthunder import overlaystore
from os_brick_vmthunder import privileged
from os_brick_vmthunder.privileged import qcow2

GIB = 1 << 30
_disk = qcow2._disk


def _file(device, read_only=False):
    """Return what stands for a block device."""
    return {**_disk(device, read_only), 'driver': 'file',
            'cache': {'direct': False}}


class Qcow2Test(unittest.TestCase):

    def setUp(self):
        super().setUp()
        privileged.default.set_client_mode(False)
        self.addCleanup(privileged.default.set_client_mode, True)
        for target, name, value in ((os, 'O_DIRECT', 0),
                                    (qcow2, '_disk', _file)):
            patch = mock.patch.object(target, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.overlay = os.path.join(directory.name, 'overlay')
        self.template = os.path.join(directory.name, 'template')
        with open(self.template, 'wb') as file:
            file.write(b't' * 4096)
        qcow2.create(self.overlay, GIB, 'vmthunder:1', overlaystore.OPTIONS)
        # as a device: with room, and whole blocks
        os.truncate(self.overlay, 2 * GIB)

    def do(self, *commands, node=None):
        return subprocess.run(
            ['qemu-io', *(word for command in commands
                          for word in ('-c', command)),
             node or qcow2.node(self.overlay, self.template)],
            capture_output=True, text=True)

    def test_what_is_below_has_to_be_named(self):
        self.assertIn("Unknown protocol 'vmthunder'", self.do(
            'read 0 4k', node=self.overlay).stderr)
        done = self.do('read -P 0x74 0 4k', 'read -P 0 4k 64k')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertNotIn('failed', done.stdout)

    def test_node(self):
        node = json.loads(qcow2.node('/dev/a', '/dev/b')[len('json:'):])
        self.assertTrue(node['backing']['file']['read-only'])
        self.assertIsNone(json.loads(
            qcow2.node('/dev/a')[len('json:'):])['backing'])
        # what is in the page cache may be stale
        self.assertEqual({'direct': True}, _disk('/dev/a')['cache'])

    def test_look(self):
        self.assertEqual((GIB, True), qcow2.look(self.overlay))
        self.do('write -P 1 512M 4k')
        qcow2.resize(self.overlay, 3 * GIB)
        self.assertEqual((3 * GIB, False), qcow2.look(self.overlay))
        done = self.do('read -P 1 512M 4k', 'read -P 0 2G 1M')
        self.assertNotIn('failed', done.stdout)
        with self.assertRaisesRegex(OSError, 'no qcow2 overlay'):
            qcow2.look(self.template)

    def check(self):
        return subprocess.run(['qemu-img', 'check', '-q',
                               qcow2.node(self.overlay)],
                              capture_output=True).returncode

    def leak(self):
        """Count a cluster that nothing refers to."""
        with open(self.overlay, 'r+b') as file:
            file.seek(2 * overlaystore.CLUSTER + 2 * 1000)
            file.write(b'\0\1')

    def test_leaks_are_repaired(self):
        self.assertTrue(qcow2.repair(self.overlay))
        self.leak()
        self.assertEqual(3, self.check())
        self.assertTrue(qcow2.repair(self.overlay))
        self.assertEqual(0, self.check())

    def test_damage_is_left_as_it_is(self):
        self.do('write -P 1 0 4k')
        self.leak()
        with open(self.overlay, 'r+b') as file:
            # its own header counts as used by nothing
            file.seek(2 * overlaystore.CLUSTER)
            file.write(b'\0\0')
            file.seek(0)
            before = file.read(8 * overlaystore.CLUSTER)
        self.assertFalse(qcow2.repair(self.overlay))
        with open(self.overlay, 'rb') as file:
            self.assertEqual(before, file.read(8 * overlaystore.CLUSTER))

    def test_what_cannot_be_checked(self):
        self.assertRaises(processutils.ProcessExecutionError, qcow2.repair,
                          self.template)
