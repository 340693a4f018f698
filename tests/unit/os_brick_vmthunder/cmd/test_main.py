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
import io
import unittest
from unittest import mock

import ddt

from os_brick_vmthunder import caches
from os_brick_vmthunder.caches import base
from os_brick_vmthunder.cmd import cache
from os_brick_vmthunder.cmd import main
from os_brick_vmthunder import exception
from os_brick_vmthunder import hostprofiles
from tests.unit.os_brick_vmthunder import test_hostprofiles

ONE = 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee'
OTHER = 'bbbbbbbb-bbbb-5ccc-8ddd-eeeeeeeeeeee'
THIRD = 'cccccccc-bbbb-5ccc-8ddd-eeeeeeeeeeee'


@ddt.ddt
class MainTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.cache = mock.Mock()
        self.held = []
        for target, name, new in (
                (cache.caches, 'create', lambda config: self.cache),
                (cache.conf, 'load', lambda file: file),
                (cache, '_become_privileged', lambda path: None),
                (cache.locks, 'host_lock', self._lock),
                (cache.locks, 'host_lock_on_all', self._lock)):
            patch = mock.patch.object(target, name, new)
            patch.start()
            self.addCleanup(patch.stop)

    @contextlib.contextmanager
    def _lock(self, *what):
        self.held.append(what)
        yield

    def run_it(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(err):
            try:
                status = main.main(arguments)
            except SystemExit as end:
                status = end.code
        return status, out.getvalue(), err.getvalue()

    def test_list(self):
        self.cache.templates.return_value = [OTHER, ONE]
        self.cache.stats.side_effect = {
            ONE: base.CacheStats(5 << 20, 3 << 20, 70, 4), OTHER: None}.get
        status, out, _err = self.run_it('cache', 'list')
        self.assertEqual(0, status)
        _head, one, other = out.splitlines()
        self.assertEqual([ONE, 'attached', '5', '3', '70', '4'], one.split())
        self.assertEqual([OTHER, 'kept'], other.split()[:2])

    def test_layers(self):
        lacking = {'flashcache': 'no module flashcache; build it'}
        for name in caches.names():
            needs = mock.Mock()
            needs.lacking.return_value = lacking.get(name, '')
            patch = mock.patch.object(caches.layer(name), 'NEEDS', needs)
            patch.start()
            self.addCleanup(patch.stop)
        status, out, _err = self.run_it('cache', 'layers')
        self.assertEqual(0, status)
        rows = {line.split()[0]: line for line in out.splitlines()}
        self.assertEqual(['LAYER', *caches.names()], list(rows))
        self.assertEqual(['bcache', 'kept', 'kept', 'yes', 'yes'],
                         rows['bcache'].split())
        self.assertEqual(['none', '-', '-', 'no', 'yes'],
                         rows['none'].split())
        self.assertTrue(rows['flashcache'].endswith(
            '  no: no module flashcache; build it'))

    def test_drop_one(self):
        self.assertEqual((0, '', ''), self.run_it('cache', 'drop', ONE))
        self.cache.forget.assert_called_once_with(ONE)
        self.assertEqual([('template', ONE)], self.held)

    def test_drop_all(self):
        self.assertEqual((0, '', ''), self.run_it('cache', 'drop', '--all'))
        self.cache.clear.assert_called_once_with()
        self.assertEqual([('template',)], self.held)

    def test_what_is_in_use_is_told(self):
        self.cache.forget.side_effect = exception.DeviceBusy(
            device='x', users='volume y')
        status, _out, err = self.run_it('cache', 'drop', ONE)
        self.assertEqual(1, status)
        self.assertIn('in use by volume y', err)

    def test_prefetch(self):
        test_hostprofiles.use(self)
        what = hostprofiles.Foretold(50 << 20, 'v2 40 5+2')
        for template_id in ONE, OTHER:
            hostprofiles.foretold.write(template_id, what)
        hostprofiles.progress.write(ONE, hostprofiles.Progress(
            'all', 'abc', 2 << 20, 30 << 20, 0, 30 << 20))
        for template_id in OTHER, THIRD:
            hostprofiles.recorded.write(
                template_id, hostprofiles.Recorded('v2 40 3'))
        status, out, _err = self.run_it('prefetch')
        self.assertEqual(0, status)
        self.assertEqual([
            [ONE, 'all', '2', '30', 'fetching', '-'],
            [OTHER, '-', '-', '-', 'no', 'agent', 'yes'],
            [THIRD, '-', '-', '-', '-', 'yes']],
            [line.split() for line in out.splitlines()[1:]])

    @ddt.data([], ['cache'], ['cache', 'drop'], ['cache', 'drop', '../x'],
              ['cache', 'drop', ONE, '--all'])
    def test_wrong_usage(self, arguments):
        self.assertEqual(2, self.run_it(*arguments)[0])
        self.assertEqual([], self.held)
