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

"""Tests of vmthunder-manage."""

import contextlib
import io
import unittest
from unittest import mock

from cinder_vmthunder.cmd import manage
from cinder_vmthunder import diffs
from cinder_vmthunder import volumegroup
from tests.unit.cinder_vmthunder import fakes

IMAGE = 'dddddddd-0000-4000-8000-00000000000d'
ONE = 'aaaaaaaa-0000-4000-8000-00000000000a'
TWO = 'bbbbbbbb-0000-4000-8000-00000000000b'
HALF = 'cccccccc-0000-4000-8000-00000000000c'


class ManageTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.lvm = fakes.LVM()
        patcher = mock.patch('oslo_concurrency.processutils.execute',
                             self.lvm)
        patcher.start()
        self.addCleanup(patcher.stop)
        group = volumegroup.VolumeGroup('vg', self.lvm)
        for name, state in ((ONE, 'ready'), (TWO, 'ready'),
                            (HALF, 'importing')):
            group.create(f'template-{name}', 64 << 20,
                         {'state': state, 'image': IMAGE})
        group.tag(f'template-{TWO}', {'unused': '1'})
        diff = diffs.Diff('volume-1', ONE, 64 << 20, 16, 1 << 30)
        with mock.patch.object(diffs, 'blockdev'):
            diffs.Diffs(group).create(diff)
        self.lvm.used[f'template-{ONE}'] = 32 << 20

    def run_command(self, *words):
        self.out, self.err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(self.out), \
                contextlib.redirect_stderr(self.err):
            return manage.main(['--volume-group', 'vg', *words])

    def test_list(self):
        with mock.patch('time.time', return_value=601):
            self.assertEqual(0, self.run_command('template', 'list'))
        rows = [line.split() for line in
                self.out.getvalue().splitlines()[1:]]
        self.assertEqual(
            [[ONE, IMAGE, '64', '32', '1', 'in', 'use'],
             [TWO, IMAGE, '64', '0', '0', 'unused', 'for', '10', 'min'],
             [HALF, IMAGE, '64', '0', '0', 'importing']], rows)

    def test_drop_one(self):
        self.assertEqual(0, self.run_command('template', 'drop', TWO))
        self.assertIn('drop', self.lvm.tags(f'template-{TWO}'))
        self.assertNotIn('drop', self.lvm.tags(f'template-{ONE}'))
        self.run_command('template', 'list')
        self.assertIn('to be dropped', self.out.getvalue())

    def test_drop_by_image(self):
        self.assertEqual(0, self.run_command('template', 'drop', IMAGE))
        self.assertIn('drop', self.lvm.tags(f'template-{ONE}'))

    def test_drop_unknown(self):
        self.assertEqual(1, self.run_command('template', 'drop', 'x'))
        self.assertIn('No template of x', self.err.getvalue())

    def test_no_such_group(self):
        self.lvm.fail['lvs'] = 'Volume group "vg" not found'
        self.assertEqual(1, self.run_command('template', 'list'))
        self.assertIn('not found', self.err.getvalue())

    def test_usage(self):
        with self.assertRaises(SystemExit):
            self.run_command('template')
