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
import subprocess
from unittest import mock

from oslo_concurrency import processutils

from os_brick_vmthunder.privileged import nbd
from os_brick_vmthunder import sysfs
from tests.unit.os_brick_vmthunder.privileged import test_devices


class NbdTest(test_devices.PrivilegedTestCase):

    def setUp(self):
        super().setUp()
        for target, name, path in ((nbd, '_MODULE', 'module'),
                                   (nbd, '_PROCESSES', 'proc'),
                                   (sysfs, '_BLOCK', 'block')):
            self.patch(target, name, os.path.join(self.root, path))
            os.mkdir(os.path.join(self.root, path))
        for device in 'nbd0', 'nbd1', 'nbd10':
            self.write('', 'block', device, 'holders', '.keep')
            os.remove(f'{self.root}/block/{device}/holders/.keep')
        self.commands = []
        self.execute = self.patch(nbd.processutils, 'execute',
                                  side_effect=self.connect)

    def write(self, text, *path):
        path = os.path.join(self.root, *path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as file:
            file.write(text)

    def connect(self, *command):
        """As qemu-nbd does, in a process 100 + N with a thread 200 + N."""
        self.commands.append(command)
        number = len(self.commands)
        device = command[2].removeprefix('/dev/')
        self.write('\0'.join((*command, '')), 'proc', str(100 + number),
                   'cmdline')
        self.write('', 'proc', str(100 + number), 'task', str(200 + number))
        self.write(f'{200 + number}\n', 'block', device, 'pid')

    def die(self, number):
        """Let a process die; what stands on its device keeps that."""
        path = f'{self.root}/proc/{100 + number}'
        os.remove(f'{path}/cmdline')
        os.remove(f'{path}/task/{200 + number}')

    def test_serve(self):
        self.assertIsNone(nbd.served('one'))
        for _twice in range(2):
            self.assertEqual('/dev/nbd0', nbd.serve('one', 'json:x'))
        self.assertEqual('/dev/nbd1', nbd.serve('two', 'json:y'))
        self.assertEqual('/dev/nbd0', nbd.served('one'))
        self.assertEqual('/dev/nbd1', nbd.served('two'))
        self.assertEqual(2, len(self.commands))
        self.assertEqual('json:x', self.commands[0][-1])

    def test_device_that_something_stands_on_is_not_used_again(self):
        """It would get another disk's data."""
        nbd.serve('one', 'json:x')
        self.write('', 'block', 'nbd0', 'holders', 'dm-0')
        self.die(1)
        os.remove(f'{self.root}/block/nbd0/pid')
        self.assertIsNone(nbd.served('one'))
        self.assertEqual('/dev/nbd1', nbd.serve('two', 'json:y'))

    def test_thread_of_another_process(self):
        """A number that died and came back is no sign of life."""
        nbd.serve('one', 'json:x')
        self.die(1)
        self.write('', 'proc', '999', 'task', '201')
        self.assertIsNone(nbd.served('one'))

    def test_another_is_faster(self):
        def taken(*command):
            self.execute.side_effect = self.connect
            self.write('999', 'block', 'nbd0', 'pid')
            raise processutils.ProcessExecutionError(stderr='busy')

        self.execute.side_effect = taken
        self.assertEqual('/dev/nbd1', nbd.serve('one', 'json:x'))

    def test_disk_that_qemu_refuses(self):
        self.execute.side_effect = processutils.ProcessExecutionError()
        self.assertRaises(processutils.ProcessExecutionError, nbd.serve,
                          'one', 'json:x')
        self.assertEqual(1, self.execute.call_count)

    def test_none_is_free(self):
        for device in 'nbd0', 'nbd1', 'nbd10':
            self.write('1', 'block', device, 'pid')
        with self.assertRaisesRegex(OSError, 'nbds_max'):
            nbd.serve('one', 'json:x')

    def test_module_is_loaded(self):
        os.rmdir(nbd._MODULE)
        self.execute.side_effect = lambda *_command: os.mkdir(nbd._MODULE)
        with nbd._alone():
            pass
        self.assertEqual(mock.call('modprobe', 'nbd', *nbd._OPTIONS),
                         self.execute.call_args)

    def start(self, name, script='echo; read x'):
        process = subprocess.Popen(
            ['qemu-nbd', '-c', script, name], executable='/bin/sh',
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        process.stdout.readline()
        nbd._PROCESSES = '/proc'
        while process.pid not in nbd._processes(name):
            pass
        return process

    def test_stop(self):
        nbd.stop('one')
        one, other = self.start('one'), self.start('one-more')
        nbd.stop('one')
        self.assertEqual(-15, one.wait(1))
        self.assertIsNone(other.poll())

    def test_process_that_does_not_end(self):
        process = self.start(
            'one', 'trap "" TERM; echo; while :; do read x; done')
        self.patch(nbd, '_PATIENCE', 0.2)
        with self.assertRaisesRegex(OSError, rf'\({process.pid}\) does not'):
            nbd.stop('one')
