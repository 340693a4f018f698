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
import unittest
from unittest import mock

from oslo_concurrency import processutils

from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder import nodes
from tests.unit.os_brick_vmthunder import fake_iscsi
from tests.unit.os_brick_vmthunder import test_connection

TARGET = nodes.template_target(test_connection.TEMPLATE)
ROOT = nodes.Node('192.0.2.1:3260', f'iqn.2010-10.org.x:{TARGET}')
RELAY = nodes.Node('[fd00::9]:3260', f'iqn.2010-10.org.x:{TARGET}:1f')
OTHER = nodes.Node('192.0.2.1:3260', 'iqn.2010-10.org.x:volume-1')
CHAP = connection.Chap('user', 'secret')


class NodesTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.iscsi = fake_iscsi.FakeIscsi(self)
        self.nodes = nodes.Nodes(self.iscsi)
        patch = mock.patch.object(nodes, '_LOGOUT_SECONDS', 0.01)
        patch.start()
        self.addCleanup(patch.stop)

    def make(self, *made):
        for node in made:
            self.nodes.record([node], self.iscsi.records, CHAP,
                              nodes.SETTINGS)

    def test_record(self):
        self.nodes.record([RELAY], [], CHAP, nodes.RELAY_SETTINGS)
        settings = self.iscsi.records[RELAY]
        self.assertEqual(('CHAP', 'user', 'secret'), tuple(
            settings[f'node.session.auth.{name}']
            for name in ('authmethod', 'username', 'password')))
        self.assertEqual('2', settings['node.conn[0].timeo.noop_out_timeout'])
        # again, with another secret: it isn't made from nothing
        self.nodes.record([RELAY], [RELAY],
                          connection.Chap('user', 'new'),
                          nodes.RELAY_SETTINGS)
        self.assertEqual('new', settings['node.session.auth.password'])
        self.assertIs(settings, self.iscsi.records[RELAY])

    def test_record_of_several_portals(self):
        other = nodes.Node('192.0.2.2:3260', ROOT.iqn)
        self.nodes.record([ROOT, other], [ROOT, RELAY], CHAP, nodes.SETTINGS)
        # what was thought to be there isn't, and is nobody's harm
        self.assertEqual([other], list(self.iscsi.records))
        self.nodes.record([ROOT, other], [other], CHAP, nodes.SETTINGS)
        self.assertEqual(
            [{**nodes.SETTINGS, 'node.session.auth.authmethod': 'CHAP',
              'node.session.auth.username': 'user',
              'node.session.auth.password': 'secret'}] * 2,
            list(self.iscsi.records.values()))
        self.assertEqual(4, len(self.iscsi.commands))

    def test_record_that_another_made_meanwhile(self):
        """No portal is left without a secret."""
        other = nodes.Node('192.0.2.2:3260', ROOT.iqn)
        self.make(ROOT, other)
        self.nodes.log_in(other)
        self.nodes.record([ROOT, other], [], CHAP, nodes.SETTINGS)
        self.assertEqual(['secret'] * 2, [
            record['node.session.auth.password']
            for record in self.iscsi.records.values()])

    def test_nobody_waits_two_minutes(self):
        for settings in nodes.SETTINGS, nodes.RELAY_SETTINGS:
            self.assertGreaterEqual(10, int(
                settings['node.conn[0].timeo.login_timeout']) * int(
                settings['node.session.initial_login_retry_max']))

    def test_broken_iscsiadm(self):
        with mock.patch.object(
                self.iscsi, '_execute',
                side_effect=processutils.ProcessExecutionError(exit_code=6)):
            self.assertRaises(processutils.ProcessExecutionError, self.make,
                              ROOT)

    def test_sessions(self):
        self.assertEqual([], nodes.sessions(''))
        self.iscsi.add(ROOT, disks=['sdb', 'sda'])
        self.iscsi.add(RELAY, 'FAILED')
        self.iscsi.add(OTHER)
        root, relay = nodes.sessions(TARGET)
        self.assertEqual((ROOT, True, ['sda', 'sdb']),
                         (root.node, root.live, root.disks))
        self.assertEqual((RELAY, False, []),
                         (relay.node, relay.live, relay.disks))
        self.assertEqual(3, len(nodes.sessions('')))

    def test_half_made_session_is_none_yet(self):
        self.iscsi.add(ROOT)
        os.unlink(f'{self.iscsi.root}/_CONNECTIONS/connection1:0/'
                  'persistent_port')
        self.assertEqual([], nodes.sessions(''))

    def test_missing(self):
        self.assertEqual([], self.nodes.missing(TARGET))
        self.make(ROOT, RELAY, OTHER)
        self.nodes.log_in(ROOT)
        self.assertEqual([RELAY], self.nodes.missing(TARGET))
        self.nodes.log_in(RELAY)
        self.nodes.log_in(RELAY)  # is no error
        self.assertEqual([], self.nodes.missing(TARGET))

    def test_log_out(self):
        self.make(ROOT)
        self.nodes.log_in(ROOT)
        self.assertTrue(self.nodes.log_out([ROOT]))
        self.assertEqual([ROOT], self.nodes.records(''))
        self.nodes.log_in(ROOT)
        self.iscsi.staying.add(ROOT)
        self.assertFalse(self.nodes.log_out([ROOT]))

    def test_forget(self):
        self.make(ROOT, RELAY, OTHER)
        for node in ROOT, OTHER:
            self.nodes.log_in(node)
        # came when its record was gone
        self.iscsi.add(nodes.Node('192.0.2.7:3260', ROOT.iqn))
        self.assertEqual([ROOT, RELAY], self.nodes.forget(TARGET))
        self.assertEqual([OTHER], list(self.iscsi.records))
        self.assertEqual({OTHER}, self.iscsi.sessions())
        self.assertEqual([], self.nodes.forget(TARGET))

    def test_login_that_comes_too_late(self):
        self.make(ROOT)
        self.iscsi.late.append(ROOT)
        with mock.patch.object(nodes.time, 'sleep'):
            self.nodes.forget(TARGET)
        self.assertEqual({}, self.iscsi.records)
        self.assertEqual(set(), self.iscsi.sessions())

    def test_session_that_does_not_end(self):
        self.make(ROOT)
        self.nodes.log_in(ROOT)
        self.iscsi.staying.add(ROOT)
        with self.assertRaisesRegex(exception.MultipathError, TARGET):
            self.nodes.forget(TARGET)
        self.assertEqual([ROOT], list(self.iscsi.records))

    def test_orphans(self):
        self.make(ROOT)
        self.nodes.log_in(ROOT)
        number = self.iscsi.add(RELAY)
        self.iscsi.add(OTHER)
        (orphan,) = self.nodes.orphans([])
        self.assertEqual(number, orphan.id)
        commands = len(self.iscsi.commands)
        self.assertEqual([], self.nodes.orphans([test_connection.TEMPLATE]))
        # mostly there is nothing to do, and it costs nothing
        self.assertEqual(commands, len(self.iscsi.commands))
        self.nodes.end(orphan)
        self.assertEqual({ROOT, OTHER}, self.iscsi.sessions())
