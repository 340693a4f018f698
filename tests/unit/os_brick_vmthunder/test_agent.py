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

import threading
import time
import unittest
from unittest import mock

import ddt

from os_brick_vmthunder import agent
from os_brick_vmthunder import agentexport
from os_brick_vmthunder import agentupstream
from os_brick_vmthunder.cmd import agent as command
from os_brick_vmthunder import conf
from os_brick_vmthunder import connection
from os_brick_vmthunder import logins
from os_brick_vmthunder import nodes
from os_brick_vmthunder.privileged import blockdev
from os_brick_vmthunder.privileged import lio
from os_brick_vmthunder.privileged import serving
from tests.unit.os_brick_vmthunder import fake_iscsi
from tests.unit.os_brick_vmthunder import fake_kernel

ONE = 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee'
IQN = f'iqn.2010-10.org.openstack:template-{ONE}:me'
MAP, CACHED = 'dm-0', 'dm-1'
PARENT = nodes.Node('10.0.0.1:3260',
                    f'iqn.2010-10.org.openstack:template-{ONE}:parent')
ROOT = nodes.Node('10.0.0.9:3260',
                  f'iqn.2010-10.org.openstack:template-{ONE}')


class HostTestCase(unittest.TestCase):
    """A host with a template: a map over two paths, and the cache."""

    def setUp(self):
        super().setUp()
        self.now = 1000.0
        self.kernel = fake_kernel.FakeKernel(self)
        for name, uuid in (
                (MAP, f'mpath-{connection.wwid(ONE)}'),
                (CACHED, f'VMTHUNDER-template-{ONE}'),
                ('dm-2', f'VMTHUNDER-relay-{ONE}')):
            self.kernel.write(name, 'block', name, 'dm', 'name')
            self.kernel.write(uuid, 'block', name, 'dm', 'uuid')
        self.load(MAP, 100, 0)
        self.load(CACHED, 100, 0)
        self.paths('running', 'running')

    def patch(self, *arguments):
        patch = mock.patch.object(*arguments)
        self.addCleanup(patch.stop)
        return patch.start()

    def load(self, device, answered, waiting):
        self.kernel.write(f'{answered} 0 8 0 0 0 0 0 {waiting} 9 9 0\n',
                          'block', device, 'stat')

    def paths(self, *states):
        for number, state in enumerate(states):
            self.kernel.write('', 'block', MAP, 'slaves', f'sd{number}')
            self.kernel.write(state, 'block', f'sd{number}', 'device',
                              'state')


@ddt.ddt
class UpstreamTest(HostTestCase):

    def setUp(self):
        super().setUp()
        self.upstream = agentupstream.Upstream(ONE, lambda: self.now)

    def stalls_after(self, limit=100, each=lambda second: None):
        """Return the second in which it is found to stall, if it is."""
        for second in range(limit):
            each(second)
            if self.upstream.stalled(CACHED):
                return second
            self.now += 1
        return None

    def test_nothing_to_do(self):
        self.assertIsNone(self.stalls_after())

    @ddt.data((('running', 'running'), agentupstream.LONG_PATIENCE),
              (('running', 'transport-offline'), agentupstream.PATIENCE),
              (('running', 'blocked'), agentupstream.LONG_PATIENCE),
              (('blocked', 'offline'), agentupstream.PATIENCE))
    @ddt.unpack
    def test_nothing_is_answered(self, states, patience):
        self.paths(*states)
        self.load(MAP, 100, 4)
        self.assertEqual(patience, self.stalls_after())

    def test_one_answer_now_and_then_is_enough(self):
        self.paths('running', 'offline')
        self.assertIsNone(self.stalls_after(
            each=lambda second: self.load(MAP, second // 3, 4)))

    def test_another_path_is_given_its_time(self):
        self.load(MAP, 100, 4)

        def lose_one(second):
            if second == 15:
                self.paths('transport-offline')

        self.assertEqual(15 + agentupstream.PATIENCE,
                         self.stalls_after(each=lose_one))

    def test_last_path_is_given_none(self):
        self.paths('blocked', 'transport-offline')
        self.load(MAP, 100, 4)
        self.load(CACHED, 100, 4)

        def lose_it(second):
            if second == 3:
                self.load(MAP, 100, 0)
                self.paths('transport-offline')

        self.assertEqual(agentupstream.PATIENCE,
                         self.stalls_after(each=lose_it))

    def test_map_without_paths_does_not_count_what_it_queues(self):
        self.paths('transport-offline', 'transport-offline')
        # what is cached goes on
        self.assertEqual(agentupstream.PATIENCE, self.stalls_after(
            each=lambda second: self.load(CACHED, 100 + second, 2)))

    def test_cache_hangs(self):
        self.paths('running', 'offline')
        self.load(CACHED, 100, 3)
        self.assertEqual(
            agentupstream.PATIENCE, self.stalls_after(
                each=lambda second: self.load(MAP, 100 + second, 1)))

    def test_comes_again(self):
        self.paths('offline', 'offline')
        self.load(CACHED, 100, 3)
        self.assertIsNotNone(self.stalls_after())
        self.load(CACHED, 103, 0)
        self.assertIsNone(self.stalls_after())

    def test_path_that_is_back_is_not_enough(self):
        self.paths('offline', 'offline')
        self.load(CACHED, 100, 3)
        self.assertIsNotNone(self.stalls_after())
        self.paths('running', 'offline')
        self.now += 1
        self.assertTrue(self.upstream.stalled(CACHED))

    def test_without_map(self):
        self.kernel.write('', 'block', MAP, 'dm', 'uuid')
        self.load(CACHED, 100, 3)
        self.assertIsNone(self.stalls_after())


class GateTest(HostTestCase):

    def setUp(self):
        super().setUp()
        self.enabled = {IQN: True}
        self.released = threading.Event()
        self.released.set()
        self.stalled = False
        self.writes = []
        self.patch(serving, 'read', self.enabled.get)
        self.patch(serving, 'write', self.write)
        self.patch(lio, 'names', lambda part: [
            iqn for iqn in self.enabled if part in iqn])
        self.patch(agentupstream.Upstream, 'stalled',
                   lambda upstream, cached: self.stalled)
        self.gate = agentexport.Gate()

    def write(self, iqn, on):
        self.writes.append(on)
        if not on:
            self.released.wait(30)
        self.enabled[iqn] = on

    def look(self, stalled):
        self.stalled = stalled
        self.gate.look()

    def join(self):
        for thread in self.gate._closing.values():
            thread.join(30)

    def test_all_is_well(self):
        self.look(False)
        self.assertEqual([], self.writes)

    def test_closes_and_opens(self):
        self.look(True)
        self.join()
        self.assertEqual({ONE}, self.gate.stalled)
        self.look(True)
        self.assertEqual({IQN: False}, self.enabled)
        self.look(False)
        self.assertEqual({IQN: True}, self.enabled)
        self.assertEqual([False, True], self.writes)

    def test_closing_takes_its_time(self):
        self.released.clear()
        self.look(True)
        self.look(True)
        self.look(False)
        self.assertEqual([False], self.writes)
        self.released.set()
        self.join()
        self.look(False)
        self.assertEqual([False, True], self.writes)

    def test_what_another_agent_closed_is_opened(self):
        self.enabled[IQN] = False
        self.look(False)
        self.assertEqual({IQN: True}, self.enabled)

    def test_incomplete_target_is_left_alone(self):
        self.enabled[IQN] = None
        self.look(False)
        self.look(True)
        self.assertEqual([], self.writes)

    def test_target_goes_meanwhile(self):
        self.patch(serving, 'write', mock.Mock(side_effect=OSError))
        self.look(True)
        self.join()
        self.enabled[IQN] = False
        self.look(False)

    def test_export_of_another_template_is_left_alone(self):
        self.enabled = {IQN.replace('a', 'b'): False}
        self.look(False)
        self.assertEqual([], self.writes)


class ReconnectingTest(HostTestCase):

    def setUp(self):
        super().setUp()
        self.iscsi = fake_iscsi.FakeIscsi(self)
        self.iscsi.records = {PARENT: {}, ROOT: {}}
        self.iscsi.dead.add(PARENT)
        self.iscsi.add(ROOT)
        self.patch(agent.random, 'uniform', lambda low, high: high)
        self.reconnecting = agent.Reconnecting(
            logins.Logins(self.iscsi), lambda: self.now)

    def asked(self, seconds):
        """Return when the parent is asked."""
        times = []
        for second in range(seconds):
            del self.iscsi.commands[:]
            self.reconnecting.look()
            if any('--login' in command for command in self.iscsi.commands):
                times.append(second)
            self.now += 1
        return times

    def test_asked_ever_less_often(self):
        self.assertEqual([0, 6, 18, 42, 87, 132, 177], self.asked(200))

    def test_answers(self):
        self.asked(100)
        self.iscsi.dead.clear()
        self.asked(100)
        self.assertEqual({PARENT, ROOT}, self.iscsi.sessions())
        # the next time it is asked soon
        self.iscsi.remove(*self.iscsi.numbers())
        self.iscsi.add(ROOT)
        self.iscsi.dead.add(PARENT)
        self.assertEqual([0, 6], self.asked(10))

    def test_template_that_nobody_has_here(self):
        self.kernel.write('', 'block', CACHED, 'dm', 'uuid')
        self.assertEqual([], self.asked(10))
        self.assertEqual([], self.iscsi.commands)

    def test_records_of_others(self):
        other = nodes.Node('10.0.0.1:3260', 'iqn.2000-01.x:template-b')
        self.iscsi.records = {other: {}}
        self.assertEqual([], self.asked(10))


@ddt.ddt
class ReviveTest(HostTestCase):

    @ddt.data(('offline', 'VMTHUNDR', 'LOGGED_IN', True),
              ('running', 'VMTHUNDR', 'LOGGED_IN', False),
              ('transport-offline', 'VMTHUNDR', 'LOGGED_IN', False),
              ('offline', 'VMTHUNDR', 'FAILED', False),
              ('offline', 'LIO-ORG', 'LOGGED_IN', False))
    @ddt.unpack
    def test_disk(self, state, vendor, session, revived):
        fake_iscsi.FakeIscsi(self).add(PARENT, session, ['sd0'])
        self.kernel.write(state, 'block', 'sd0', 'device', 'state')
        self.kernel.write(vendor, 'block', 'sd0', 'device', 'vendor')
        set_running = self.patch(blockdev, 'set_running')
        agent.revive()
        self.assertEqual([mock.call('sd0')] if revived else [],
                         set_running.mock_calls)


@ddt.ddt
class AgentTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        for target, name, new in (
                (agent, '_EXPORT_SECONDS', 0.001),
                (agent, '_PATHS_SECONDS', 0.001),
                (agent, '_SWEEP_SECONDS', 0.001),
                (agent, 'revive', lambda: None),
                (agent.Reconnecting, 'look', lambda this: None),
                (agent.agentexport.Gate, 'look', self.look),
                (agent.linger, 'sweep', self.sweep),
                (agent, '_RECORD_SECONDS', 0.001),
                (agent, '_PREFETCH_SECONDS', 0.001),
                (agent.agentrecorder.Recorder, 'look',
                 lambda this: self.tasks.add('record')),
                (agent.agentprefetch.Prefetcher, 'look',
                 lambda this: self.tasks.add('prefetch'))):
            patch = mock.patch.object(target, name, new)
            patch.start()
            self.addCleanup(patch.stop)
        self.looks, self.swept = 0, threading.Event()
        self.tasks: set[str] = set()
        self.config = conf.HostConfig()
        self.agent = agent.Agent('paths', mock.Mock(), 'cache', self.config)
        self.addCleanup(self.end, set(threading.enumerate()))

    def end(self, others):
        # A thread left at work would do the next test's.
        self.agent.stop()
        for thread in set(threading.enumerate()) - others:
            thread.join(30)
            self.assertFalse(thread.is_alive(), thread)

    def look(self):
        self.looks += 1
        if self.looks == 1:
            raise OSError('no matter')
        if self.swept.wait(0.2 if self.agent._gate.stalled else 30):
            self.agent.stop()
        if self.looks == 3:
            self.agent.stop()

    def sweep(self, *arguments):
        self.assertEqual(('paths', 'cache', self.config), arguments)
        self.swept.set()

    def test_does_all_and_goes_on_after_an_error(self):
        self.agent.run()
        self.assertEqual((2, True), (self.looks, self.swept.is_set()))

    @ddt.data(('off', set()), ('profile', {'record', 'prefetch'}))
    @ddt.unpack
    def test_prefetches_if_it_is_to(self, mode, tasks):
        self.agent = agent.Agent('paths', mock.Mock(), 'cache',
                                 conf.HostConfig(prefetch=mode))
        self.config = self.agent._config
        thread = threading.Thread(target=self.agent.run)
        with mock.patch.object(agent.agentexport.Gate, 'look'):
            thread.start()
            time.sleep(0.1)  # for what is not to be done
            for _look in range(3000):
                if self.tasks >= tasks:
                    break
                time.sleep(0.01)
            self.agent.stop()
            thread.join()
        self.assertEqual(tasks, self.tasks)

    def test_does_not_sweep_while_a_template_stalls(self):
        self.agent._gate.stalled = frozenset([ONE])
        self.agent.run()
        self.assertEqual((3, False), (self.looks, self.swept.is_set()))


class CommandTest(unittest.TestCase):

    @mock.patch.object(command, '_prepare')
    @mock.patch.object(command.signal, 'signal')
    @mock.patch.object(command.agent.Agent, 'run')
    def test_runs(self, run, _signal, prepare):
        self.assertEqual(0, command.main(
            ['--config-file', '/missing', '--lock-path', '/locks']))
        prepare.assert_called_once_with('/locks')
        run.assert_called_once_with()

    @mock.patch.object(command, '_prepare')
    @mock.patch('sys.stderr')
    @mock.patch.object(command.conf, 'load',
                       side_effect=command.exception.ConfigurationError(
                           reason='x'))
    def test_wrong_configuration(self, _load, _stderr, _prepare):
        self.assertEqual(1, command.main([]))
