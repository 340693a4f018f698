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

"""What fails below a guest, on real kernels: it must not notice."""

import concurrent.futures
import sys
import time

from os_brick_vmthunder import devicemapper
from os_brick_vmthunder import export
from os_brick_vmthunder import privileged
from tests.functional import backend
from tests.functional import base
from tests.functional import compute
from tests.functional import load
from tests.functional import test_host_stack
from tests import lab
from tests.lab import brick

MIB = 1 << 20
# root -> A -> B -> C
CHAIN = tuple(lab.HostSpec(name, number, memory=512) for name, number in (
    ('relay-a', 64), ('relay-b', 65), ('relay-c', 66)))

# What the project promises, in seconds.
DEAD, GREY = 10, 20


def snapshot_is_valid(volume_id):
    privileged.default.set_client_mode(False)
    return devicemapper.snapshot_status(f'vmthunder-{volume_id}').valid


def withdraw(template_id):
    privileged.default.set_client_mode(False)
    export.withdraw(template_id)


class FailureTestCase(test_host_stack.HostStackTestCase):
    """Three hosts, each of which reads through the one before."""

    ADDRESSES = ['10.77.0.51']
    TEMPLATE_SIZE = 48 * MIB
    VOLUME_SIZE = 56 * MIB
    AGENT = True

    @classmethod
    def setUpClass(cls):
        base.FunctionalTestCase.setUpClass.__func__(cls)
        cls.storage = base.get_host(test_host_stack.STORAGE)
        cls.hosts = [base.get_host(spec) for spec in CHAIN]
        cls.a, cls.b, cls.c = cls.hosts
        cls.storage.preload(*backend.MODULES)
        for host in cls.hosts:
            host.preload(*brick.MODULES, *backend.MODULES)
        cls.backend = backend.Backend(cls.storage, cls.ADDRESSES)

    def setUp(self):
        super().setUp()
        for host in self.hosts:
            base.get_host(host.spec)  # one that a test has left off
        self.configure()
        for host in self.hosts:
            self.start_agent(host)
        self.volumes = {}
        for host, parents in ((self.a, ()), (self.b, (self.a,)),
                              (self.c, (self.b,))):
            volume = self.backend.relayed(
                self.make_volume(host, self.VOLUME_SIZE), host, parents)
            self.volumes[host] = volume
            self.connect(host, volume)
        self.assertPathsWork(self.b, 2)
        self.assertPathsWork(self.c, 2)

    def configure(self):
        for host in self.hosts:
            host.call(compute.configure)

    def start_agent(self, host):
        if self.AGENT:
            agent = host.spawn(
                sys.executable, '-m', 'os_brick_vmthunder.cmd.agent',
                '--lock-path', str(brick.LOCKS))
            self.addCleanup(self.stop_agent, host, agent)

    def stop_agent(self, host, agent):
        if host.alive:
            agent.kill()

    def disconnect_everywhere(self, volume):
        for host in self.hosts:
            if self.volumes.get(host, volume).volume_id == volume.volume_id:
                self.disconnect(host, volume)

    def during(self, failure, repair, hosts, seconds=32.0, after=6.0,
               lasting=20.0):
        """Have guests read and write while something fails; return reports.

        :param after: seconds before it fails.
        :param lasting: seconds before it is repaired.
        """
        with concurrent.futures.ThreadPoolExecutor() as pool:
            loads = [pool.submit(
                host.call, load.run, self.path(host), self.template.id,
                self.TEMPLATE_SIZE, seconds, timeout=seconds + 300)
                for host in hosts]
            time.sleep(after)
            failure()
            time.sleep(lasting)
            repair()
            reports = [running.result() for running in loads]
        for host, report in zip(hosts, reports):
            print(f'\n{self.id().rpartition(".")[2]}, {host.name}: '
                  f'{report.stall:.1f} s stall at {report.stalled_at:.0f} s,'
                  f' {report.reads} reads, {report.writes} writes',
                  file=sys.stderr)
        return reports

    def path(self, host):
        return f'/dev/mapper/vmthunder-{self.volumes[host].volume_id}'

    def assertSurvived(self, hosts, reports, stall):
        """Check that guests have seen nothing but one short stall."""
        for host, report in zip(hosts, reports):
            self.assertEqual([], report.wrong)
            self.assertTrue(host.call(snapshot_is_valid,
                                      self.volumes[host].volume_id))
            self.assertLess(report.stall, stall)
            # it had something to do meanwhile
            self.assertLess(50, report.reads)

    def assertPathsWork(self, host, count, seconds=150):
        """Wait until all paths of the template are as they should be."""
        deadline = time.monotonic() + seconds
        wwid = self.template.wwid
        while True:
            status = host.run('multipath', '-ll', wwid, check=False).stdout
            if status.count('active ready') == count:
                return
            self.assertLess(time.monotonic(), deadline, status)
            time.sleep(1)


class DeadParentTest(FailureTestCase):

    def test_power_cut(self):
        reports = self.during(self.b.power_off, lambda: None, [self.c])
        self.assertSurvived([self.c], reports, DEAD)
        # iscsid looks after sessions that are there; the agent after others
        relay = self.volumes[self.b].template.export.iqn
        self.c.run('iscsiadm', '-m', 'node', '-T', relay, '--logout')
        # the path comes back with the parent
        self.b.power_on()
        self.start_agent(self.b)
        self.connect(self.b, self.volumes[self.b])
        self.assertPathsWork(self.c, 2)

    def test_network_cut(self):
        # the parent's own guest only waits
        hosts = [self.c]
        reports = self.during(self.b.network.cut, self.b.network.restore,
                              hosts)
        self.assertSurvived(hosts, reports, DEAD)
        self.assertPathsWork(self.b, 2)
        self.assertPathsWork(self.c, 2)

    def test_export_removed(self):
        hosts = [self.b, self.c]
        reports = self.during(
            lambda: self.b.call(withdraw, self.template.id),
            lambda: self.connect(self.b, self.volumes[self.b]), hosts)
        self.assertSurvived(hosts, reports, DEAD)
        self.assertPathsWork(self.c, 2)


class GreyParentTest(FailureTestCase):
    """A's way to the root is cut while C reads through B."""

    def test_three_levels_deep(self):
        hosts = [self.b, self.c]
        reports = self.during(
            lambda: self.route_to_root('add'),
            lambda: self.route_to_root('del'), hosts)
        self.assertSurvived(hosts, reports, GREY)
        for host, count in (self.a, 1), (self.b, 2), (self.c, 2):
            self.assertPathsWork(host, count)

    def route_to_root(self, action):
        self.a.run('ip', 'route', action, 'blackhole', self.ADDRESSES[0])


class GreyParentWithoutAgentTest(GreyParentTest):

    AGENT = False


class RootAwayTest(FailureTestCase):

    def test_for_half_a_minute(self):
        reports = self.during(
            self.storage.network.cut, self.storage.network.restore,
            self.hosts, seconds=50, lasting=30.0)
        self.assertSurvived(self.hosts, reports, 30 + 30)
        for host, count in (self.a, 1), (self.b, 2), (self.c, 2):
            self.assertPathsWork(host, count)


class CacheFailureTest(FailureTestCase):
    """B's cache device dies."""

    SIZE = 2 << 30

    def configure(self):
        super().configure()
        sectors = self.SIZE // 512
        self.b.run('truncate', '-s', str(self.SIZE), '/var/lib/failing')
        device = self.b.run('losetup', '-f', '--show',
                            '/var/lib/failing').stdout.strip()
        self.addCleanup(self.b.run, 'losetup', '-d', device)
        self.b.run('dmsetup', 'create', 'failing', '--table',
                   f'0 {sectors} linear {device} 0')
        self.addCleanup(self.b.run, 'dmsetup', 'remove', '--retry',
                        'failing')
        self.b.call(compute.configure, cache_device='/dev/mapper/failing')
        self.addCleanup(self.b.call, compute.configure)

    def break_cache(self):
        self.b.run(f'dmsetup suspend --noflush failing; dmsetup load failing '
                   f'--table "0 {self.SIZE // 512} error"; '
                   'dmsetup resume failing', shell=True)

    def test_cache_device_fails(self):
        hosts = [self.b, self.c]
        reports = self.during(self.break_cache, lambda: None, hosts)
        self.assertSurvived(hosts, reports, DEAD)
