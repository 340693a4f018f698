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


import contextlib
import unittest
from unittest import mock

import ddt

from os_brick_vmthunder import devicemapper
from os_brick_vmthunder import exception
from os_brick_vmthunder import linger
from os_brick_vmthunder import locks

ONE = 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee'
OTHER = 'bbbbbbbb-bbbb-5ccc-8ddd-eeeeeeeeeeee'


@ddt.ddt
class LingerTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.stacks = {ONE: mock.Mock(), OTHER: mock.Mock()}
        self.paths, self.cache, self.config = (mock.Mock(), mock.Mock(),
                                               object())
        self.busy = set()
        self.uuids = [f'VMTHUNDER-template-{OTHER}',
                      f'VMTHUNDER-template-{ONE}', f'VMTHUNDER-relay-{ONE}',
                      'VMTHUNDER-volume-x', f'mpath-{ONE}', '']
        for module, name, value in (
                (linger.stack, 'HostStack', self._stack),
                (locks, 'host_lock', self._lock),
                (devicemapper, 'devices', lambda: (
                    devicemapper.Device('x', 'dm-0', uuid, False)
                    for uuid in self.uuids))):
            patch = mock.patch.object(module, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def _stack(self, template_id, *args):
        self.assertEqual((self.paths, self.cache, self.config), args)
        return self.stacks[template_id]

    @contextlib.contextmanager
    def _lock(self, kind, unique_id, wait):
        self.assertEqual(('template', False), (kind, wait))
        if unique_id in self.busy:
            raise locks.Busy('x')
        yield

    def sweep(self):
        linger.sweep(self.paths, self.cache, self.config)

    def released(self):
        return [template_id for template_id, stack in self.stacks.items()
                if stack.release.mock_calls]

    def test_every_stack_is_looked_at(self):
        self.sweep()
        self.assertEqual([ONE, OTHER], self.released())
        self.stacks[ONE].release.assert_called_once_with()
        self.paths.end_orphans.assert_called_once_with([ONE, OTHER])
        self.assertEqual([mock.call(ONE), mock.call(OTHER)],
                         self.cache.settle.mock_calls)

    def test_half_of_a_stack_too(self):
        self.uuids = [f'VMTHUNDER-relay-{ONE}']
        self.sweep()
        self.assertEqual([ONE], self.released())

    def test_what_is_worked_on_is_left_alone(self):
        self.busy.add(ONE)
        self.sweep()
        self.assertEqual([OTHER], self.released())

    @ddt.data(exception.TargetError(action='x', target='y', reason='z'),
              OSError())
    def test_one_that_does_not_go_is_no_matter(self, error):
        self.stacks[ONE].release.side_effect = error
        self.sweep()
        self.assertEqual([ONE, OTHER], self.released())

    def test_end(self):
        linger.end(ONE, self.paths, self.cache, self.config)
        self.stacks[ONE].release.assert_called_once_with(linger=False)
