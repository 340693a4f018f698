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
from oslo_concurrency import processutils

from os_brick_vmthunder import connection
from os_brick_vmthunder import logins
from os_brick_vmthunder import nodes
from tests.unit.os_brick_vmthunder import fake_iscsi
from tests.unit.os_brick_vmthunder import test_connection

ID = test_connection.TEMPLATE
IQN = f'iqn.2010-10.org.x:template-{ID}'
ROOTS = tuple(connection.Path(f'192.0.2.{number}:3260', IQN, 0)
              for number in (1, 2))
PARENTS = tuple(connection.Path(f'192.0.2.{number}:3260', f'{IQN}:{number}',
                                0, f'host-{number}') for number in (8, 9))
TEMPLATE = connection.Template(ID, 1 << 30, PARENTS + ROOTS,
                               connection.Chap('tu', 'tp'))


@ddt.ddt
class LoginsTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.iscsi = fake_iscsi.FakeIscsi(self)
        self.logins = logins.Logins(self.iscsi)
        self.now = 100.0
        self.events = {}  # second: what happens then
        for name, replacement in (('monotonic', lambda: self.now),
                                  ('sleep', self._sleep)):
            patch = mock.patch.object(logins.time, name, replacement)
            patch.start()
            self.addCleanup(patch.stop)

    def _sleep(self, seconds):
        self.now += seconds
        for second in [second for second in self.events
                       if self.now >= 100 + second]:
            self.events.pop(second)()

    def die(self, *paths):
        self.iscsi.dead.update(map(nodes.Node.of, paths))

    def revive(self, *paths):
        self.iscsi.dead.difference_update(map(nodes.Node.of, paths))

    def reach(self, patience=0.0):
        """Return how long it took."""
        self.logins.reach(TEMPLATE, patience)
        return self.now - 100

    def asked(self, path):
        return sum('--login' in command and path.iqn + ' ' in command and
                   path.portal in command for command in self.iscsi.commands)

    def test_all_answer(self):
        self.assertGreater(1, self.reach(20))
        self.assertEqual(list(TEMPLATE.paths),
                         self.logins.answering(TEMPLATE))
        self.assertTrue(self.logins.known(TEMPLATE))

    def test_nothing_to_do_runs_nothing(self):
        taken = self.reach()
        self.iscsi.commands.clear()
        self.assertEqual(taken, self.reach(20))
        self.assertEqual([], self.iscsi.commands)

    def test_few_commands(self):
        """Each takes as long as all else that is done here."""
        diff = dataclasses.replace(test_connection.make().diff, paths=tuple(
            connection.Path(f'192.0.2.{number}:3260', 'iqn.x:diff', 0)
            for number in (1, 2)))
        self.logins.reach(diff)
        listed, *others = self.iscsi.commands
        self.assertEqual('node', listed)
        self.assertEqual(
            ['new', 'new', 'update', '--login', '--login'],
            [next(word for word in command.split()
                  if word in ('new', 'update', '--login'))
             for command in others])

    def test_one_that_cannot_be_recorded(self):
        """It's nobody else's matter."""
        execute = self.iscsi._execute

        def refuse(*command, **keywords):
            if PARENTS[0].portal in command:
                raise processutils.ProcessExecutionError(exit_code=7)
            return execute(*command, **keywords)

        with mock.patch.object(self.iscsi, '_execute', refuse):
            self.reach()
        self.assertEqual([PARENTS[1], *ROOTS],
                         self.logins.answering(TEMPLATE))

    def test_relays_fail_sooner(self):
        self.reach()
        timeouts = [self.iscsi.records[nodes.Node.of(path)].get(
            'node.session.err_timeo.abort_timeout')
            for path in TEMPLATE.paths]
        self.assertEqual(['2', '2', None, None], timeouts)

    def test_parents_that_do_not_serve_are_waited_for(self):
        self.die(*PARENTS)
        self.events[7] = lambda: self.revive(PARENTS[1])
        taken = self.reach(20)
        self.assertLess(6.9, taken)
        self.assertGreater(9, taken)
        self.assertEqual([PARENTS[1], *ROOTS],
                         self.logins.answering(TEMPLATE))

    def test_but_not_for_ever(self):
        self.die(*PARENTS)
        taken = self.reach(20)
        self.assertLess(19.9, taken)
        self.assertGreater(21, taken)
        # every second or so, and never more often
        for parent in PARENTS:
            self.assertIn(self.asked(parent), range(13, 21))
        # their records stay for whoever asks again
        self.assertEqual(list(map(nodes.Node.of, PARENTS)),
                         self.logins.missing(ID))

    def test_nor_without_patience(self):
        self.die(*PARENTS)
        self.assertGreater(1, self.reach())
        self.assertEqual([1, 1], list(map(self.asked, PARENTS)))

    def test_nor_for_the_second_parent(self):
        self.die(PARENTS[0])
        self.assertGreater(1, self.reach(20))

    def test_one_of_the_roots_portals_is_dead(self):
        self.die(ROOTS[0])
        taken = self.reach(20)
        self.assertGreater(logins.OTHERS_SECONDS + 1, taken)
        # iscsid isn't still trying when nobody waits any more
        self.assertLess(
            int(nodes.SETTINGS['node.conn[0].timeo.login_timeout']), taken)
        self.assertEqual(1, self.asked(ROOTS[0]))

    def test_nobody_answers(self):
        self.die(*TEMPLATE.paths)
        self.assertGreater(logins.ROOT_SECONDS + 1, self.reach(2))
        self.assertEqual([], self.logins.answering(TEMPLATE))
        self.assertTrue(self.logins.known(TEMPLATE))

    def test_hosts_do_not_ask_in_step(self):
        self.die(*PARENTS)
        times = []
        for _host in range(2):
            self.now, self.iscsi.commands = 100.0, Stamped(self)
            self.reach(5)
            times.append(self.iscsi.commands.times)
        self.assertNotEqual(*times)

    @ddt.data(processutils.ProcessExecutionError(exit_code=6), OSError())
    def test_broken_iscsiadm(self, error):
        with mock.patch.object(self.iscsi, '_execute', side_effect=error):
            self.reach()
        self.assertEqual([], self.logins.answering(TEMPLATE))

    def test_diff(self):
        diff = test_connection.make().diff
        self.logins.reach(diff, 20)
        self.assertEqual(list(diff.paths), self.logins.answering(diff))

    def test_forget(self):
        self.reach()
        self.assertEqual(4, len(self.logins.forget_template(ID)))
        self.assertFalse(self.logins.known(TEMPLATE))
        self.assertEqual(set(), self.iscsi.sessions())

    def test_broken(self):
        self.assertFalse(logins.broken(TEMPLATE))
        self.iscsi.add(nodes.Node.of(ROOTS[0]))
        self.assertFalse(logins.broken(TEMPLATE))
        self.iscsi.add(nodes.Node.of(ROOTS[1]), 'FAILED')
        self.assertTrue(logins.broken(TEMPLATE))

    def test_agent_logs_in_later(self):
        self.die(PARENTS[0])
        self.reach()
        self.revive(PARENTS[0])
        (node,) = self.logins.missing(ID)
        # as os-brick does when it makes a map
        self.iscsi.records[node]['node.session.scan'] = 'manual'
        self.logins.log_in(node)
        self.assertEqual('auto',
                         self.iscsi.records[node]['node.session.scan'])
        self.assertEqual([], self.logins.missing(ID))
        before = self.iscsi.numbers()
        self.logins.renew(node)
        after = self.iscsi.numbers()
        self.assertEqual(set(before.values()), set(after.values()))
        self.assertNotEqual(before, after)

    def test_disks_that_the_kernel_gave_up(self):
        states = {'sda': 'running', 'sdb': 'offline', 'sdc': 'offline'}
        self.iscsi.add(nodes.Node.of(ROOTS[0]), disks=['sda', 'sdb'])
        self.iscsi.add(nodes.Node.of(ROOTS[1]), 'FAILED', disks=['sdc'])
        with mock.patch.object(
                logins.sysfs, 'attribute',
                lambda disk, *path: states[disk]), mock.patch.object(
                logins.blockdev, 'set_running') as set_running:
            self.assertEqual(['sdb'], self.logins.revive(ID))
        set_running.assert_called_once_with('sdb')

    def test_orphans(self):
        self.reach()
        self.iscsi.records.clear()
        self.logins.end_orphans([ID])
        self.assertEqual(4, len(self.iscsi.sessions()))
        self.logins.end_orphans([])
        self.assertEqual(set(), self.iscsi.sessions())


class Stamped(list):
    """Commands, with when they were run."""

    def __init__(self, test):
        super().__init__()
        self._test = test
        self.times = []

    def append(self, command):
        super().append(command)
        self.times.append(self._test.now)
