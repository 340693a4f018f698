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

import dataclasses
import unittest
from unittest import mock

import ddt
from os_brick import exception as brick_exception
from oslo_concurrency import processutils

from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder import nodes
from os_brick_vmthunder import paths
from tests.unit.os_brick_vmthunder import test_connection

MIB = 1 << 20
QUEUEING = '0 8 multipath 1 queue_if_no_path 1 alua 1 1 service-time 0 1 1'


@ddt.ddt
class PathsTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.iscsi = mock.Mock()
        self.logins = mock.Mock()
        self.logins.answering.side_effect = lambda lun: list(lun.paths)
        self.paths = paths.Paths(self.iscsi, 'sudo')
        self.paths._logins = self.logins
        volume = test_connection.make()
        self.template, self.diff = volume.template, volume.diff
        self.states = {'sda': 'running'}
        self.read_only = '1'
        self.maps = ['/dev/dm-3']
        self.meanwhile = None  # what happens while somebody waits
        self.dm_table = QUEUEING
        self.sizes, self.sizes_after = {}, {}
        for name, replacement in {
                'devicemapper.find_uuid': lambda uuid: self.maps[0],
                'devicemapper.name_of': lambda device: 'mpatha',
                'devicemapper.table': lambda name: self.dm_table,
                'sysfs.listing': lambda *path: list(self.states),
                'sysfs.attribute': self._attribute,
                'sysfs.size': lambda device: self.sizes[device],
                'devicemapper.lengthen': mock.DEFAULT,
                'sysfs.wait': self._wait,
                'blockdev.rescan': self._rescan,
                'locks.forget_portal_locks': mock.DEFAULT}.items():
            module, attribute = name.split('.')
            patch = mock.patch.object(getattr(paths, module), attribute,
                                      replacement)
            if replacement is mock.DEFAULT:
                patch = mock.patch.object(getattr(paths, module), attribute)
            setattr(self, attribute, patch.start())
            self.addCleanup(patch.stop)

    def _attribute(self, name, *path):
        return self.read_only if path == ('ro',) else self.states[name]

    def _rescan(self, disk):
        self.sizes[f'/dev/{disk}'] = self.sizes_after[disk]

    def _wait(self, condition, seconds):
        if self.meanwhile:
            self.meanwhile()
        return condition() or condition()

    def _appears(self, *_args):
        self.maps[:] = ['/dev/dm-3']

    def test_connects_through_os_brick(self):
        self.maps[:] = [None]
        self.iscsi.connect_volume.side_effect = self._appears
        self.assertEqual('/dev/dm-3', self.paths.connect(self.template))
        (properties,), _kwargs = self.iscsi.connect_volume.call_args
        self.assertEqual(['192.0.2.1:3260'], properties['target_portals'])
        self.assertEqual([0], properties['target_luns'])
        self.assertEqual(('CHAP', 'tu', 'tp'), (
            properties['auth_method'], properties['auth_username'],
            properties['auth_password']))

    def test_multipathd_makes_the_map_by_itself(self):
        self.maps[:] = [None]
        self.meanwhile = self._appears
        self.assertEqual('/dev/dm-3', self.paths.connect(self.template))
        self.iscsi.connect_volume.assert_not_called()

    def test_map_that_multipathd_makes_is_checked(self):
        self.maps[:] = [None]
        self.meanwhile = self._appears
        self.dm_table = self.dm_table.replace('queue_if_no_path', '')
        self.assertRaises(exception.MultipathError, self.paths.connect,
                          self.template)

    def test_map_of_multipathd_without_paths(self):
        self.maps[:] = [None]
        self.meanwhile = self._appears
        self.states['sda'] = 'offline'
        self.paths.connect(self.template)
        self.iscsi.connect_volume.assert_called_once()

    def test_only_paths_that_answer(self):
        """os-brick would wait for the others, under the host's lock."""
        dead = connection.Path('192.0.2.9:3260', 'iqn.x:r', 0, 'host-9')
        template = dataclasses.replace(
            self.template, paths=(dead, *self.template.paths))
        self.logins.answering.side_effect = lambda lun: lun.paths[1:]
        self.maps[:] = [None]
        self.iscsi.connect_volume.side_effect = self._appears
        self.paths.connect(template)
        (properties,), _kwargs = self.iscsi.connect_volume.call_args
        self.assertEqual(['192.0.2.1:3260'], properties['target_portals'])
        self.assertEqual('iqn.2010-10.org.x:y', properties['target_iqn'])

    def test_nobody_answers(self):
        self.maps[:] = [None]
        self.logins.answering.side_effect = lambda lun: []
        with self.assertRaisesRegex(
                exception.MultipathError,
                f'(?s)template {self.template.id}.*192.0.2.1.*credentials'):
            self.paths.connect(self.template)
        # they were asked for before, and waited for then
        self.logins.reach.assert_not_called()
        self.iscsi.connect_volume.assert_not_called()

    def test_relays_alone_do_not_do(self):
        relay = connection.Path('192.0.2.9:3260', 'iqn.x:r', 0, 'host-9')
        template = dataclasses.replace(
            self.template, paths=(relay, *self.template.paths))
        self.maps[:] = [None]
        self.logins.answering.side_effect = lambda lun: [relay]
        self.assertRaises(exception.MultipathError, self.paths.connect,
                          template)

    def test_detach_was_faster(self):
        self.maps[:] = [None]
        self.logins.known.return_value = False
        answers = iter([[], list(self.template.paths)])
        self.logins.answering.side_effect = lambda lun: next(answers)
        self.iscsi.connect_volume.side_effect = self._appears
        self.assertEqual('/dev/dm-3', self.paths.connect(self.template))
        self.logins.reach.assert_called_once_with(self.template, 0.0)

    def test_map_is_used_as_it_is(self):
        self.assertEqual('/dev/dm-3', self.paths.connect(self.template))
        self.iscsi.connect_volume.assert_not_called()

    @ddt.data('offline', None, 'transport-offline')
    def test_map_without_paths_is_connected(self, state):
        self.states['sda'] = state
        self.paths.connect(self.template)
        self.iscsi.connect_volume.assert_called_once()

    def test_resize(self):
        self.states['sdb'] = 'running'
        self.lengthen.side_effect = (
            lambda name, length: self.sizes.update({'/dev/dm-3': 2 * MIB}))
        self.sizes_after = {'sda': 2 * MIB, 'sdb': 2 * MIB}
        calls = mock.Mock()
        calls.attach_mock(self.lengthen, 'lengthen')
        calls.attach_mock(self.iscsi, 'iscsi')
        self.assertEqual('/dev/dm-3', self.paths.resize(self.diff))
        # not by multipathd, but it's told
        self.assertEqual(
            [mock.call.lengthen('mpatha', 4096),
             mock.call.iscsi._linuxscsi.multipath_reconfigure()],
            calls.mock_calls)

    def test_map_that_was_taken_back(self):
        self.sizes = {'/dev/dm-3': MIB}
        self.sizes_after = {'sda': 2 * MIB}
        self.assertRaisesRegex(exception.MultipathError, 'multipathd.*again',
                               self.paths.resize, self.diff)

    def test_map_that_was_taken_back_once(self):
        self.sizes = {'/dev/dm-3': MIB}
        self.sizes_after = {'sda': 2 * MIB}

        def lengthen(name, length):
            if self.lengthen.call_count == 2:
                self.sizes['/dev/dm-3'] = 2 * MIB
        self.lengthen.side_effect = lengthen
        self.assertEqual('/dev/dm-3', self.paths.resize(self.diff))

    @ddt.data({'sda': 2 * MIB, 'sdb': MIB}, {'sda': MIB, 'sdb': 0})
    def test_resize_needs_all_paths_to_agree(self, sizes):
        self.states['sdb'] = 'running'
        self.sizes_after = sizes
        self.assertResizeRefused()

    def test_resize_with_a_lost_path(self):
        """It has the size that it had."""
        self.states['sda'] = 'transport-offline'
        self.sizes_after = {'sda': MIB}
        self.assertResizeRefused()

    def test_resize_without_paths(self):
        self.states.clear()
        self.assertResizeRefused()

    def test_resize_without_a_map(self):
        self.maps[:] = [None]
        self.assertResizeRefused('is the volume attached')

    def test_failures_of_resizing_are_translated(self):
        self.sizes_after = {'sda': MIB}
        self.lengthen.side_effect = OSError('gone')
        self.assertRaisesRegex(exception.MultipathError, 'diff.*gone',
                               self.paths.resize, self.diff)

    def assertResizeRefused(self, words='not all of its paths'):
        with self.assertRaisesRegex(exception.MultipathError,
                                    f'(?s){self.diff.id}.*{words}'):
            self.paths.resize(self.diff)
        self.lengthen.assert_not_called()

    def test_reach(self):
        self.paths.reach(self.diff, 7)
        self.logins.reach.assert_called_once_with(self.diff, 7)
        self.paths.end_orphans(['x'])
        self.logins.end_orphans.assert_called_once_with(['x'])

    def test_no_map(self):
        self.maps[:] = [None]
        with self.assertRaisesRegex(exception.MultipathError,
                                    self.template.wwid + '.*blacklist'):
            self.paths.connect(self.template)

    def test_map_that_would_fail_io(self):
        self.dm_table = QUEUEING.replace('1 queue_if_no_path', '0')
        with self.assertRaisesRegex(exception.MultipathError,
                                    'conf.d/vmthunder.conf'):
            self.paths.connect(self.diff)

    def test_writable_template_is_refused(self):
        self.read_only = '0'
        with self.assertRaisesRegex(exception.MultipathError,
                                    'write-protected'):
            self.paths.connect(self.template)
        self.assertEqual('/dev/dm-3', self.paths.connect(self.diff))

    @ddt.data(
        (brick_exception.BrickException('odd'), 'odd'),
        (processutils.ProcessExecutionError(stderr='no iscsid'), 'iscsid'),
        (OSError('gone'), 'gone'))
    @ddt.unpack
    def test_failures_are_translated(self, error, words):
        self.maps[:] = [None]
        self.iscsi.connect_volume.side_effect = error
        with self.assertRaisesRegex(
                exception.MultipathError,
                f'(?s)template {self.template.id}.*192.0.2.1.*{words}'):
            self.paths.connect(self.template)

    def test_disconnect(self):
        self.iscsi.disconnect_volume.side_effect = (
            lambda *args, **kwargs: self.maps.__setitem__(0, None))
        self.paths.disconnect(self.diff, force=True)
        _args, kwargs = self.iscsi.disconnect_volume.call_args
        self.assertEqual({'force': True}, kwargs)
        self.iscsi._execute.assert_not_called()
        self.iscsi._linuxscsi.flush_multipath_device.assert_not_called()
        self.forget_portal_locks.assert_called_once_with(
            '192.0.2.1:3260', 'iqn.2010-10.org.x:y')

    def test_disconnect_of_a_dead_map(self):
        """What is queued fails, and the map that os-brick misses goes."""
        self.states.clear()
        self.paths.disconnect(self.diff)
        self.assertEqual(
            ('multipathd', 'disablequeueing', 'map', 'mpatha'),
            self.iscsi._execute.call_args.args)
        self.iscsi._linuxscsi.flush_multipath_device.assert_called_once_with(
            'mpatha')

    def test_disconnect_of_a_template(self):
        """All goes, also what another connection named."""
        self.iscsi._linuxscsi.flush_multipath_device.side_effect = (
            lambda name: self.maps.__setitem__(0, None))
        self.logins.forget_template.return_value = [
            nodes.Node('192.0.2.9:3260', 'iqn.x:r')]
        self.paths.disconnect_template(self.template.id)
        self.iscsi.disconnect_volume.assert_not_called()
        self.iscsi._linuxscsi.flush_multipath_device.assert_called_once_with(
            'mpatha')
        self.logins.forget_template.assert_called_once_with(self.template.id)
        self.forget_portal_locks.assert_called_once_with(
            '192.0.2.9:3260', 'iqn.x:r')

    def test_path_that_answers_while_a_template_goes(self):
        """multipathd makes a map again, and the path goes."""
        flush = self.iscsi._linuxscsi.flush_multipath_device
        device = self.maps[0]
        flush.side_effect = lambda name: self.maps.__setitem__(0, None)

        def forget(template_id):
            self.maps[0] = device
            self.states.clear()
            return []
        self.logins.forget_template.side_effect = forget
        self.paths.disconnect_template(self.template.id)
        self.assertEqual([mock.call('mpatha')] * 2, flush.call_args_list)
        self.assertIn('disablequeueing', self.iscsi._execute.call_args.args)

    def test_disconnect_of_a_dead_template(self):
        self.states.clear()
        self.logins.forget_template.return_value = []
        self.paths.disconnect_template(self.template.id)
        self.assertIn('disablequeueing', self.iscsi._execute.call_args.args)

    def test_template_that_does_not_go(self):
        self.iscsi._linuxscsi.flush_multipath_device.side_effect = (
            processutils.ProcessExecutionError(stderr='map in use'))
        with self.assertRaisesRegex(exception.MultipathError,
                                    '(?s)template.*map in use'):
            self.paths.disconnect_template(self.template.id)
        self.logins.forget_template.assert_not_called()

    def test_failed_disconnect_says_so(self):
        error = brick_exception.ExceptionChainer()
        error.add_exception(ValueError, ValueError('busy map'), None)
        self.iscsi.disconnect_volume.side_effect = error
        with self.assertRaisesRegex(exception.MultipathError,
                                    '(?s)diff of volume.*busy map'):
            self.paths.disconnect(self.diff)

    def test_verify(self):
        self.paths.verify()
        self.iscsi._linuxscsi.is_multipath_running.return_value = False
        with self.assertRaisesRegex(exception.ConfigurationError,
                                    'systemctl'):
            self.paths.verify()

    def test_running_without_a_map(self):
        self.maps[:] = [None]
        self.assertEqual(0, paths.running(self.diff.id))

    def test_wwid_is_what_is_looked_for(self):
        with mock.patch.object(paths.devicemapper, 'find_uuid') as find_uuid:
            paths.find(self.template.id)
        find_uuid.assert_called_once_with(
            'mpath-' + connection.wwid(self.template.id))
