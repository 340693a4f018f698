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
import stat
import tempfile
import threading
import unittest
from unittest import mock
import uuid

import os_brick
from oslo_config import cfg
from oslo_config import fixture

from os_brick_vmthunder import locks


class LocksTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = directory.name
        os_brick.setup(cfg.CONF)
        conf = fixture.Config(cfg.CONF)
        conf.setUp()
        self.addCleanup(conf.cleanUp)
        conf.config(lock_path=self.path, group='os_brick')

    def test_excludes_another_thread(self):
        unique_id = str(uuid.uuid4())
        order = []
        started = threading.Event()

        def other():
            started.set()
            with locks.host_lock('volume', unique_id):
                order.append('other')

        thread = threading.Thread(target=other)
        with locks.host_lock('volume', unique_id):
            thread.start()
            started.wait()
            thread.join(0.2)
            order.append('first')
        thread.join()
        self.assertEqual(['first', 'other'], order)

    def test_not_waited_for(self):
        with locks.host_lock('template', 'ab12', wait=False):
            with self.assertRaises(locks.Busy):
                with locks.host_lock('template', 'ab34', wait=False):
                    self.fail('two have it')
        with locks.host_lock('template', 'ab34', wait=False):
            pass

    def test_kinds_nest(self):
        unique_id = str(uuid.uuid4())
        with locks.host_lock('volume', unique_id):
            with locks.host_lock('template', unique_id):
                self.assertEqual(2, len(os.listdir(self.path)))

    def test_files_do_not_pile_up(self):
        for number in range(2000):
            with locks.host_lock('volume', uuid.UUID(int=number << 108).hex):
                pass
        self.assertLessEqual(len(os.listdir(self.path)), 256)

    @mock.patch.object(os, 'geteuid', return_value=0)
    @mock.patch.object(os, 'fchown')
    def test_root_leaves_locks_to_the_service(self, chown, _geteuid):
        os.chmod(self.path, 0o750)
        there = os.stat(self.path)
        for _again in range(2):
            with locks.host_lock('volume', 'ab12'):
                name, = os.listdir(self.path)
        chown.assert_called_once_with(mock.ANY, there.st_uid, there.st_gid)
        self.assertEqual(0o640, stat.S_IMODE(os.stat(
            os.path.join(self.path, name)).st_mode))

    @mock.patch.object(os, 'geteuid', return_value=1000)
    @mock.patch.object(os, 'fchown')
    def test_service_makes_its_own_locks(self, chown, _geteuid):
        with locks.host_lock('volume', 'ab12'):
            chown.assert_not_called()

    def test_portal_locks_go(self):
        name = 'os-brick-connect_to_iscsi_portal-192.0.2.1:3260-iqn.x:y'
        with open(os.path.join(self.path, name), 'w'):
            pass
        locks.forget_portal_locks('192.0.2.1:3260', 'iqn.x:y')
        locks.forget_portal_locks('192.0.2.1:3260', 'iqn.x:y')
        self.assertEqual([], os.listdir(self.path))
