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
from os_brick import exception as brick_exception

from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder.initiator.connectors import vmthunder
from tests.unit.os_brick_vmthunder import test_connection


@ddt.ddt
class VMThunderConnectorTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.volume = test_connection.make()
        self.data = self.volume.to_dict()
        self.calls = mock.Mock()
        self.path = '/dev/mapper/vmthunder-x'
        self.snapshot = self.calls.snapshot
        self.snapshot.find.return_value = None
        self.snapshot.create.return_value = self.path
        self.calls.stack.build.return_value = '/dev/bcache0'
        self.calls.paths.connect.return_value = '/dev/dm-1'
        for name, value in {
                'conf.load': None,
                'caches.create': self.calls.cache,
                'iscsi.ISCSIConnector': self.calls.iscsi,
                'paths.Paths': self.calls.paths,
                'paths.running': 2,
                'stack.HostStack': self.calls.stack,
                'snapshot.VolumeSnapshot': self.snapshot}.items():
            module, attribute = name.split('.')
            patch = mock.patch.object(getattr(vmthunder, module), attribute,
                                      return_value=value)
            setattr(self, attribute, patch.start())
            self.addCleanup(patch.stop)
        patch = mock.patch.object(vmthunder.locks, 'host_lock', self.lock)
        patch.start()
        self.addCleanup(patch.stop)
        self.held = []
        self.connector = vmthunder.VMThunderConnector('sudo')
        self.calls.reset_mock()

    @contextlib.contextmanager
    def lock(self, kind, unique_id):
        self.held.append(kind)
        yield
        self.held.remove(kind)

    def torn_down(self):
        return [name for name, *_args in self.calls.mock_calls
                if name in ('snapshot.remove', 'stack.release',
                            'paths.disconnect')]

    def test_connect(self):
        self.calls.stack.build.side_effect = (
            lambda: self.assertEqual(['volume', 'template'], self.held) or
            '/dev/bcache0')
        self.assertEqual({'type': 'block', 'path': self.path},
                         self.connector.connect_volume(self.data))
        self.snapshot.create.assert_called_once_with('/dev/bcache0',
                                                     '/dev/dm-1')
        self.calls.paths.connect.assert_called_once_with(self.volume.diff)
        self.assertEqual([], self.torn_down())

    def test_iscsi_is_multipath_whatever_the_caller_wants(self):
        vmthunder.VMThunderConnector('sudo', use_multipath=False)
        self.assertTrue(
            self.ISCSIConnector.call_args.kwargs['use_multipath'])

    @ddt.data('cache', 'paths')
    def test_nothing_is_touched_on_an_unfit_host(self, part):
        getattr(self.calls, part).verify.side_effect = (
            exception.ConfigurationError(reason='x'))
        self.assertRaises(exception.ConfigurationError,
                          self.connector.connect_volume, self.data)
        self.calls.paths.connect.assert_not_called()
        self.assertEqual([], self.torn_down())

    @ddt.data('connect_volume', 'get_volume_paths')
    def test_malformed_contract_touches_nothing(self, method):
        self.data['version'] = '9.0'
        self.assertRaises(exception.InvalidConnection,
                          getattr(self.connector, method), self.data)
        self.assertRaises(exception.InvalidConnection,
                          self.connector.disconnect_volume, self.data, None)
        self.assertEqual([], self.calls.mock_calls)

    @ddt.data('paths.connect', 'stack.build', 'snapshot.create')
    def test_failed_attach_is_undone(self, step):
        part, method = step.split('.')
        error = exception.MultipathError(what='x', reason='y')
        getattr(getattr(self.calls, part), method).side_effect = error
        self.calls.stack.release.side_effect = ValueError('also broken')
        with self.assertRaises(exception.MultipathError):
            self.connector.connect_volume(self.data)
        self.assertEqual(['snapshot.remove', 'stack.release',
                          'paths.disconnect'], self.torn_down())

    def test_failed_attach_spares_what_a_guest_uses(self):
        self.snapshot.find.return_value = self.path
        self.calls.paths.connect.side_effect = (
            exception.MultipathError(what='x', reason='y'))
        self.assertRaises(exception.MultipathError,
                          self.connector.connect_volume, self.data)
        self.assertEqual([], self.torn_down())

    def test_attached_volume_is_completed(self):
        self.snapshot.find.return_value = self.path
        self.connector.connect_volume(self.data)
        self.assertEqual([], self.torn_down())

    def test_stale_volume_is_made_again(self):
        self.snapshot.find.return_value = self.path
        self.running.return_value = 0
        self.connector.connect_volume(self.data)
        names = [name for name, *_args in self.calls.mock_calls]
        self.assertLess(names.index('snapshot.remove'),
                        names.index('paths.disconnect'))
        self.assertLess(names.index('paths.disconnect'),
                        names.index('paths.connect'))

    def test_disconnect_from_the_top(self):
        self.connector.disconnect_volume(self.data, None)
        self.assertEqual(['snapshot.remove', 'stack.release',
                          'paths.disconnect'], self.torn_down())

    def test_disconnect_stops_at_a_volume_in_use(self):
        self.snapshot.remove.side_effect = exception.DeviceBusy(
            device='x', users='qemu')
        self.assertRaises(exception.DeviceBusy,
                          self.connector.disconnect_volume, self.data, None)
        self.assertEqual(['snapshot.remove'], self.torn_down())

    @ddt.data(True, False)
    def test_forced_disconnect_goes_on(self, ignore_errors):
        self.snapshot.remove.side_effect = exception.DeviceBusy(
            device='x', users='qemu')
        with contextlib.ExitStack() as expectation:
            if not ignore_errors:
                expectation.enter_context(self.assertRaises(
                    brick_exception.ExceptionChainer))
            self.connector.disconnect_volume(
                self.data, None, force=True, ignore_errors=ignore_errors)
        self.assertEqual(['snapshot.remove', 'stack.release',
                          'paths.disconnect'], self.torn_down())

    def test_announces_itself(self):
        self.assertEqual(
            {'vmthunder': {'version': connection.VERSION}},
            vmthunder.VMThunderConnector.get_connector_properties(
                'sudo', host='h', multipath=False))

    def test_volume_paths(self):
        self.assertEqual([], self.connector.get_volume_paths(self.data))
        self.snapshot.find.return_value = self.path
        self.assertEqual([self.path],
                         self.connector.get_volume_paths(self.data))
        self.assertEqual('/dev/mapper', self.connector.get_search_path())
        self.assertEqual([], self.connector.get_all_available_volumes())

    def test_extend_says_that_it_is_not_there(self):
        with self.assertRaisesRegex(exception.NotSupported, 'Extending'):
            self.connector.extend_volume(self.data)

    def test_set_execute_reaches_iscsi(self):
        self.connector.set_execute(print)
        self.calls.iscsi.set_execute.assert_called_with(print)
