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
import tempfile
import unittest
from unittest import mock

from oslo_concurrency import processutils

from os_brick_vmthunder.caches import needs
from os_brick_vmthunder import privileged
from os_brick_vmthunder.privileged import flashcache
from os_brick_vmthunder.privileged import lvmcommands
from os_brick_vmthunder.privileged import presence


class NeedsTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.load = self.patch(presence, 'load_module')
        self.has = self.patch(presence, 'has_program')
        self.patch(needs, '_LOADED', directory.name)
        os.mkdir(os.path.join(directory.name, 'dm_cache'))

    def patch(self, *args):
        patch = mock.patch.object(*args)
        self.addCleanup(patch.stop)
        return patch.start()

    def test_nothing_is_lacking(self):
        self.assertEqual('', needs.Needs(('dm-cache', 'b'), ('c',)).lacking())
        self.load.assert_called_once_with('b')

    def test_a_module(self):
        self.load.side_effect = processutils.ProcessExecutionError
        self.assertEqual(
            f'the kernel {os.uname().release} has no module b; build it',
            needs.Needs(('dm-cache', 'b'), remedy='build it').lacking())

    def test_a_program(self):
        self.has.return_value = False
        self.assertEqual('the program c is not installed; install it',
                         needs.Needs((), ('c',), 'install it').lacking())


class PrivilegedTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        patch = mock.patch.object(processutils, 'execute',
                                  return_value=('said', ''))
        self.execute = patch.start()
        self.addCleanup(patch.stop)
        privileged.default.set_client_mode(False)
        self.addCleanup(privileged.default.set_client_mode, True)

    def test_load_module(self):
        presence.load_module('dm-cache')
        self.execute.assert_called_once_with('modprobe', 'dm-cache')

    def test_has_program(self):
        self.assertTrue(presence.has_program('sh'))
        self.assertFalse(presence.has_program('no-such-program'))

    def test_flashcache_create(self):
        flashcache.create('name', '/dev/ssd', '/dev/disk')
        self.execute.assert_called_once_with(
            'flashcache_create', '-p', 'around', '-b', '4k', 'name',
            '/dev/ssd', '/dev/disk')

    def test_lvm(self):
        self.assertEqual('said', lvmcommands.run('lvs', '--noheadings'))
        self.execute.assert_called_once_with('lvs', '--noheadings')
        with self.assertRaises(ValueError):
            lvmcommands.run('sh', '-c', 'true')
