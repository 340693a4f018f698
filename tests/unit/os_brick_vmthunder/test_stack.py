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

from os_brick_vmthunder import conf
from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder import profile
from os_brick_vmthunder import stack
from tests.unit.os_brick_vmthunder import test_connection

CACHED = '/dev/mapper/vmthunder-template-x'
EXPORT = connection.Export('iqn.2010-10.org.x:r', '192.0.2.7:3260')
TEMPLATE = dataclasses.replace(test_connection.make().template,
                               export=EXPORT)
RELAY = f'vmthunder-relay-{TEMPLATE.id}'


@ddt.ddt
class HostStackTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.calls = mock.Mock()
        self.cache = self.calls.cache
        self.cache.device.return_value = None
        self.cache.attach.return_value = CACHED
        self.calls.paths.connect.return_value = '/dev/dm-2'
        self.calls.none.attach.return_value = CACHED
        self.calls.export.children.return_value = []
        self.calls.export.is_waited_for.return_value = False
        self.calls.marks.age.return_value = None
        self.calls.foretold.read.return_value = None
        self.calls.holders.return_value = []
        self.slaves = ['bcache0']
        self.config = conf.HostConfig(relay_linger=60, prefetch='profile')
        for module, name, value in (
                (stack.devicemapper, 'holders', self.calls.holders),
                (stack.sysfs, 'kernel_name', lambda device: 'dm-9'),
                (stack.sysfs, 'listing', lambda *path: self.slaves),
                (stack.none, 'NoCache', lambda config: self.calls.none),
                (stack.export, 'serve', self.calls.export.serve),
                (stack.export, 'children', self.calls.export.children),
                (stack.export, 'is_waited_for',
                 self.calls.export.is_waited_for),
                (stack.export, 'withdraw', self.calls.export.withdraw),
                (stack.hostprofiles, 'foretold', self.calls.foretold),
                (stack.hostprofiles, 'forget', self.calls.forget),
                (stack, 'marks', self.calls.marks)):
            patch = mock.patch.object(module, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def stack(self, **settings):
        return stack.HostStack(
            TEMPLATE.id, self.calls.paths, self.cache,
            dataclasses.replace(self.config, **settings))

    def build(self, template=TEMPLATE, **settings):
        return self.stack(**settings).build(template)

    def down(self):
        """Return what was taken down, in order."""
        return [name for name, *_rest in self.calls.mock_calls if name in (
            'forget', 'paths.stop_queueing', 'export.withdraw', 'cache.detach',
            'paths.disconnect_template', 'marks.remove')]

    def test_first_volume_builds_it(self):
        self.assertEqual(CACHED, self.build())
        self.cache.attach.assert_called_once_with(
            TEMPLATE.id, '/dev/dm-2', TEMPLATE.size)
        self.calls.export.serve.assert_called_once_with(TEMPLATE, EXPORT,
                                                        CACHED)

    def test_tells_what_to_fetch(self):
        known = profile.Profile.of(TEMPLATE.size, profile.MIB, [0])
        for text, template in (
                ('', TEMPLATE),
                ('v2 40 0', dataclasses.replace(TEMPLATE, profile=known))):
            self.build(template)
            self.calls.foretold.write.assert_called_with(
                TEMPLATE.id, hostprofiles.Foretold(TEMPLATE.size, text))

    def test_nothing_is_to_be_fetched(self):
        self.build(prefetch='off')
        self.calls.foretold.write.assert_not_called()

    def test_no_guest_fails_for_what_is_fetched_ahead(self):
        self.calls.foretold.write.side_effect = OSError(28, 'no space')
        self.assertEqual(CACHED, self.build())

    def test_next_volume_finds_it(self):
        self.cache.device.return_value = CACHED
        self.assertEqual(CACHED, self.build())
        self.cache.attach.assert_not_called()
        # found by export.py; and a host that comes back doesn't linger
        self.calls.export.serve.assert_called_once()
        self.calls.marks.remove.assert_called_once_with(TEMPLATE.id)

    def test_nothing_to_export(self):
        self.build(dataclasses.replace(TEMPLATE, export=None))
        self.build(relay_port=0)
        self.slaves = ['dm-2']  # nothing is cached
        self.build()
        self.calls.export.serve.assert_not_called()

    @ddt.data(exception.TargetError(action='x', target='y', reason='z'),
              exception.DeviceBusy(device='x', users='y'), OSError())
    def test_failed_export_fails_no_guest(self, error):
        self.calls.export.serve.side_effect = error
        self.assertEqual(CACHED, self.build())

    @ddt.data(exception.CacheError(cache='bcache', reason='x'),
              exception.DeviceMapperError(action='x', device='y',
                                          reason='z'),
              OSError(5, 'Input/output error'))
    def test_dead_cache_is_done_without(self, error):
        self.cache.attach.side_effect = error
        self.assertEqual(CACHED, self.build())
        self.calls.none.attach.assert_called_once_with(
            TEMPLATE.id, '/dev/dm-2', TEMPLATE.size)

    def test_wrong_configuration_is_an_error(self):
        self.cache.attach.side_effect = exception.ConfigurationError(
            reason='x')
        self.assertRaises(exception.ConfigurationError, self.build)
        self.calls.none.attach.assert_not_called()

    def test_stays_while_a_volume_stands_on_it(self):
        self.cache.device.return_value = CACHED
        self.calls.holders.return_value = [RELAY, 'vmthunder-x-origin']
        self.stack().release()
        self.stack().release(linger=False)
        self.assertEqual([], self.down())
        self.calls.marks.add.assert_not_called()

    def test_goes_from_the_top_with_the_last(self):
        self.cache.device.return_value = CACHED
        self.calls.holders.return_value = [RELAY]
        self.stack().release()
        self.assertEqual(
            ['forget', 'paths.stop_queueing', 'export.withdraw',
             'cache.detach', 'paths.disconnect_template', 'marks.remove'],
            self.down())

    def test_waits_for_who_fetches(self):
        busy = exception.DeviceBusy(device='x', users='vmthunder-agent')
        self.cache.detach.side_effect = [busy, busy, None]
        self.assertRaises(exception.DeviceBusy, self.stack().release)
        self.calls.foretold.read.return_value = 'something'
        self.calls.reset_mock()
        self.stack().release()
        self.assertEqual(2, self.cache.detach.call_count)
        self.assertIn('paths.disconnect_template', self.down())
        self.cache.detach.side_effect = busy
        self.assertRaises(exception.DeviceBusy, self.stack().release)

    def test_a_part_of_it_goes_too(self):
        self.stack().release()
        self.cache.detach.assert_called_once_with(TEMPLATE.id)
        self.calls.paths.disconnect_template.assert_called_once_with(
            TEMPLATE.id)

    def test_stays_for_children(self):
        self.calls.export.children.return_value = ['iqn.x']
        self.stack().release()
        self.calls.marks.add.assert_called_once_with(TEMPLATE.id)
        self.calls.marks.age.return_value = 59
        self.stack().release()
        self.assertEqual([], self.down())

    @ddt.data((61, {}, {}), (1, {'linger': False}, {}),
              (1, {}, {'relay_linger': 0}))
    @ddt.unpack
    def test_but_not_for_ever(self, age, arguments, settings):
        self.calls.export.children.return_value = ['iqn.x']
        self.calls.marks.age.return_value = age
        self.stack(**settings).release(**arguments)
        self.assertIn('export.withdraw', self.down())
        self.assertIn('paths.disconnect_template', self.down())

    @ddt.data(None, 59, 3600)
    def test_stays_while_a_child_waits(self, age):
        """Ending the export would wait too, holding up all others."""
        self.calls.export.is_waited_for.return_value = True
        self.calls.marks.age.return_value = age
        self.stack().release()
        self.assertEqual([], self.down())
        self.assertEqual(age is None, self.calls.marks.add.called)

    def test_export_that_does_not_go(self):
        self.calls.export.withdraw.side_effect = exception.TargetError(
            action='x', target='y', reason='z')
        self.assertRaises(exception.TargetError, self.stack().release)
        self.assertNotIn('cache.detach', self.down())
        self.stack().release(force=True)
        self.assertIn('cache.detach', self.down())
