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
import dataclasses
import unittest
from unittest import mock

import ddt
from os_brick import exception as brick_exception

from os_brick_vmthunder import announcement
from os_brick_vmthunder import conf
from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder.initiator.connectors import vmthunder
from os_brick_vmthunder import modes
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
        self.snapshot.info = {'type': 'block', 'path': self.path}
        self.calls.stack.build.return_value = '/dev/bcache0'
        self.calls.stack.cached = None
        self.calls.paths.connect.return_value = '/dev/dm-1'
        for name, value in {
                'conf.load': conf.HostConfig(relay_wait=17),
                'linger.sweep': None,
                'logins.broken': False,
                'hostprofiles.settle': None,
                'hostprofiles.unheard': [],
                'marks.age': None,
                'caches.create': self.calls.cache,
                'iscsi.ISCSIConnector': self.calls.iscsi,
                'paths.Paths': self.calls.paths,
                'paths.running': 2,
                'stack.HostStack': self.calls.stack,
                'snapshot.VolumeSnapshot': self.snapshot,
                'overlay.VolumeOverlay': self.calls.overlay}.items():
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
        held = {}
        for part, method in (('stack', 'build'), ('snapshot', 'claim')):
            getattr(getattr(self.calls, part), method).side_effect = (
                lambda *_args, name=method: held.update(
                    {name: list(self.held)}) or mock.DEFAULT)
        self.assertEqual({'type': 'block', 'path': self.path},
                         self.connector.connect_volume(self.data))
        # nobody takes the stack down before the volume stands on it
        self.assertEqual(dict.fromkeys(('build', 'claim'),
                                       ['volume', 'template']), held)
        self.calls.stack.build.assert_called_once_with(self.volume.template)
        self.snapshot.claim.assert_called_once_with('/dev/bcache0')
        self.snapshot.create.assert_called_once_with('/dev/bcache0',
                                                     '/dev/dm-1')
        self.calls.paths.resize.assert_not_called()
        self.calls.paths.connect.assert_called_once_with(self.volume.diff)
        self.assertEqual([], self.torn_down())

    def test_overlay_is_for_a_process_that_offers_its_mode(self):
        volume = dataclasses.replace(self.volume,
                                     mode=connection.SnapshotMode.VMM)
        self.assertRaises(exception.ModeNotOffered,
                          self.connector.connect_volume, volume.to_dict())
        self.assertEqual([], self.calls.mock_calls)
        self.calls.overlay.find.return_value = None
        self.calls.overlay.info = {'format': 'qcow2'}
        with mock.patch.object(modes, '_offered',
                               set(connection.SnapshotMode)):
            self.assertEqual({'format': 'qcow2'},
                             self.connector.connect_volume(volume.to_dict()))
        self.calls.overlay.create.assert_called_once_with('/dev/bcache0',
                                                          '/dev/dm-1')
        # whoever cleans up needn't offer it
        self.connector.disconnect_volume(volume.to_dict(), None)
        self.calls.overlay.remove.assert_called_once_with()

    def test_network_is_waited_for_without_locks(self):
        held = {}
        self.calls.paths.reach.side_effect = (
            lambda lun, *_args: held.update({lun: list(self.held)}))
        self.connector.connect_volume(self.data)
        self.assertEqual({self.volume.template: [],
                          self.volume.diff: ['volume']}, held)
        self.assertEqual(mock.call(self.volume.template, 17),
                         self.calls.paths.reach.call_args_list[0])

    def test_children_are_served_before_the_diff_is_there(self):
        self.connector.connect_volume(self.data)
        names = [name for name, *_args in self.calls.mock_calls]
        self.assertLess(names.index('stack.build'),
                        names.index('paths.connect'))

    def test_parents_are_not_waited_for_with_a_stack_here(self):
        self.calls.stack.cached = '/dev/bcache0'
        self.connector.connect_volume(self.data)
        self.assertEqual(mock.call(self.volume.template),
                         self.calls.paths.reach.call_args_list[0])

    def test_host_that_lingers_takes_no_new_parents(self):
        """They might be its own children's children."""
        parent = connection.Path('192.0.2.9:3260', 'iqn.x:r', 0, 'host-9')
        template = self.volume.template
        data = dataclasses.replace(
            self.volume, template=dataclasses.replace(
                template, paths=(parent, *template.paths))).to_dict()
        self.calls.stack.cached = '/dev/bcache0'
        self.age.return_value = 12.0
        self.connector.connect_volume(data)
        self.assertEqual(mock.call(template),
                         self.calls.paths.reach.call_args_list[0])

    def test_dead_cache_device(self):
        self.calls.cache.verify.side_effect = OSError(5, 'I/O error')
        self.connector.connect_volume(self.data)
        self.calls.stack.build.assert_called_once()

    @ddt.data('connect_volume', 'disconnect_volume')
    def test_unused_templates_are_swept(self, method):
        arguments = (None,) if method == 'disconnect_volume' else ()
        self.sweep.side_effect = (
            lambda *_args: self.assertEqual([], self.held))
        getattr(self.connector, method)(self.data, *arguments)
        self.sweep.assert_called_once()
        self.sweep.side_effect = ValueError('of another template')
        getattr(self.connector, method)(self.data, *arguments)

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
        self.calls.paths.reach.assert_not_called()
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

    @ddt.data('paths.connect', 'stack.build', 'snapshot.claim',
              'snapshot.create')
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

    def test_broken_session_of_a_diff_is_not_used_again(self):
        self.running.return_value = 0
        self.broken.return_value = True
        self.connector.connect_volume(self.data)
        self.calls.paths.disconnect.assert_called_once_with(
            self.volume.diff, force=True)

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

    def test_announces_modes(self):
        self.assertEqual(('dm',), self.announced().modes)
        with mock.patch.object(modes, '_offered',
                               set(connection.SnapshotMode)):
            self.assertEqual(('dm', 'vmm'), self.announced().modes)

    def test_announces_itself(self):
        self.load.return_value = conf.HostConfig(
            relay_port=3261, relay_address='192.0.2.7', zone='hall-3')
        with mock.patch.object(vmthunder.export, 'supported') as supported:
            self.assertEqual(announcement.Announcement(
                connection.VERSION, 3261, '192.0.2.7', 'hall-3',
                profiles=()),
                self.announced())
            supported.return_value = False
            self.assertEqual(announcement.Announcement(
                connection.VERSION, zone='hall-3', profiles=()),
                self.announced())

    @ddt.data({'relay_port': 0}, {'cache': 'none'})
    def test_host_that_does_not_relay(self, settings):
        self.load.return_value = conf.HostConfig(**settings)
        self.assertEqual(
            announcement.Announcement(connection.VERSION, profiles=()),
            self.announced())

    def test_wrong_configuration_is_no_matter_to_other_volumes(self):
        self.load.side_effect = exception.ConfigurationError(reason='x')
        self.assertEqual(
            announcement.Announcement(connection.VERSION, profiles=()),
            self.announced())

    def test_announces_what_was_recorded(self):
        self.unheard.return_value = [
            ('t1', hostprofiles.Recorded('v2 40 0', 'old'))]
        self.load.return_value = conf.HostConfig(prefetch='profile')
        self.assertEqual((announcement.RecordedProfile(
            't1', 'v2 40 0', 'old'),), self.announced().profiles)
        self.load.return_value = conf.HostConfig(prefetch='off')
        self.assertIsNone(self.announced().profiles)

    def test_forgets_what_cinder_has_heard(self):
        self.connector.connect_volume({**self.data, 'heard': ['abc']})
        self.settle.assert_called_once_with(('abc',))

    def announced(self):
        return announcement.Announcement.of(
            vmthunder.VMThunderConnector.get_connector_properties(
                'sudo', host='h', multipath=False))

    def test_volume_paths(self):
        self.assertEqual([], self.connector.get_volume_paths(self.data))
        self.snapshot.find.return_value = self.path
        self.assertEqual([self.path],
                         self.connector.get_volume_paths(self.data))
        self.assertEqual('/dev/mapper', self.connector.get_search_path())
        self.assertEqual([], self.connector.get_all_available_volumes())

    def test_map_from_before_an_extension(self):
        self.snapshot.fits.return_value = False
        self.connector.connect_volume(self.data)
        self.snapshot.fits.assert_called_once_with('/dev/dm-1')
        names = [name for name, *_args in self.calls.mock_calls]
        self.assertLess(names.index('paths.connect'),
                        names.index('paths.resize'))
        self.assertLess(names.index('paths.resize'),
                        names.index('snapshot.create'))

    def test_extend(self):
        self.calls.stack.cached = '/dev/bcache0'
        self.snapshot.find.return_value = self.path
        self.snapshot.size = 7 << 30
        self.calls.paths.resize.side_effect = (
            lambda diff: self.assertEqual(['volume'], self.held) or
            '/dev/dm-1')
        self.assertEqual(7 << 30, self.connector.extend_volume(self.data))
        self.calls.paths.resize.assert_called_once_with(self.volume.diff)
        self.snapshot.create.assert_called_once_with('/dev/bcache0',
                                                     '/dev/dm-1')
        self.assertEqual([], self.torn_down())

    @ddt.data((None, 'device'), ('/dev/bcache0', None))
    @ddt.unpack
    def test_extend_what_is_not_attached(self, cached, device):
        self.calls.stack.cached = cached
        self.snapshot.find.return_value = device
        with self.assertRaisesRegex(exception.NotAttached,
                                    self.volume.volume_id):
            self.connector.extend_volume(self.data)
        self.calls.paths.resize.assert_not_called()
        self.assertEqual([], self.torn_down())

    def test_failed_extension_spares_the_volume(self):
        self.calls.stack.cached = '/dev/bcache0'
        self.snapshot.find.return_value = self.path
        self.calls.paths.resize.side_effect = (
            exception.MultipathError(what='x', reason='y'))
        self.assertRaises(exception.MultipathError,
                          self.connector.extend_volume, self.data)
        self.snapshot.create.assert_not_called()
        self.assertEqual([], self.torn_down())

    def test_grow(self):
        self.snapshot.grow.side_effect = (
            lambda: self.assertEqual(['volume'], self.held))
        self.connector.grow_volume(self.data)
        self.snapshot.grow.assert_called_once_with()

    def test_set_execute_reaches_iscsi(self):
        self.connector.set_execute(print)
        self.calls.iscsi.set_execute.assert_called_with(print)
