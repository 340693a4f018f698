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


"""Hosts that serve on what they have read, on real kernels."""

import concurrent.futures
import time

from os_brick_vmthunder import connection
from tests.functional import backend
from tests.functional import base
from tests.functional import compute
from tests.functional import initiator
from tests.functional import test_host_stack
from tests.functional import test_lio

MIB = 1 << 20
OUTSIDER = test_lio.CLIENT
# Nobody has this address.
DEAD_PORTAL = '10.77.0.250:3260'


class RelayTestCase(test_host_stack.HostStackTestCase):
    """A storage host, a parent and a child."""

    ADDRESSES = ['10.77.0.51']
    TEMPLATE_SIZE = 32 * MIB

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.parent, cls.child = cls.hosts
        for host in cls.hosts:
            host.preload(*backend.MODULES)

    def setUp(self):
        super().setUp()
        for host in self.hosts:
            host.call(compute.configure)
            self.addCleanup(host.run, 'rm', '-f',
                            '/etc/vmthunder/vmthunder.conf')

    def volume(self, host, *parents):
        return self.backend.relayed(self.make_volume(host), host, parents)

    def attached_pair(self):
        """Attach a volume to the parent, read all, and one to the child."""
        first = self.volume(self.parent)
        self.assertHoldsImage(self.parent, self.connect(self.parent, first))
        # what a host has just cached it may fetch once more
        self.assertHoldsImage(self.parent, self.path(first))
        second = self.volume(self.child, self.parent)
        self.connect(self.child, second)
        return first, second

    def path(self, volume):
        return f'/dev/mapper/vmthunder-{volume.volume_id}'

    def read_all(self, host, volume):
        """Read the template; return what the root and the parent sent."""
        servers = self.storage, self.parent
        before = [server.network.counters() for server in servers]
        self.assertHoldsImage(host, self.path(volume))
        return tuple((server.network.counters() - old).tx_bytes
                     for server, old in zip(servers, before))

    def children(self, host):
        """Return who is logged in to a host's export."""
        return host.run('cat /sys/kernel/config/target/iscsi/iqn.*/tpgt_1/'
                        'dynamic_sessions | tr "\\0" "\\n"', shell=True,
                        check=False).stdout.split()

    def wait(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.5)


class RelayTest(RelayTestCase):

    def test_child_reads_through_its_parent(self):
        first, second = self.attached_pair()
        relay, root = self.child.call(compute.template_disks)
        self.assertEqual((True, False), (relay.relay, root.relay))
        self.assertEqual(relay.map, root.map)
        self.assertEqual((4, 30), (relay.timeout, root.timeout))
        # the map merges what neither takes at once
        self.assertEqual((4, 4), (relay.depth, root.depth))
        self.assertEqual((128, 128), (relay.largest_kib, root.largest_kib))
        # udev, when asked again, leaves alone what is in use
        for disk in relay, root:
            self.child.run(f'echo 256 > /sys/block/{disk.name}/queue/'
                           'max_sectors_kb', shell=True)
        self.child.run('udevadm', 'trigger', '--settle', '--action=add',
                       *(f'/sys/block/{disk.name}' for disk in (relay, root)))
        self.assertEqual([256, 256], [
            disk.largest_kib for disk in
            self.child.call(compute.template_disks)])
        scheduler = f'/sys/block/{root.map}/queue/scheduler'
        self.assertIn('[mq-deadline]',
                      self.child.run('cat', scheduler).stdout)
        root_sent, parent_sent = self.read_all(self.child, second)
        self.assertLess(root_sent, MIB)
        self.assertLess(self.TEMPLATE_SIZE * 0.9, parent_sent)
        # once more, now from the child's own cache
        root_sent, parent_sent = self.read_all(self.child, second)
        self.assertLess(parent_sent, self.TEMPLATE_SIZE * 0.2)
        # the child serves in its turn
        self.assertEqual([], self.children(self.child))
        self.assertEqual([self.child.call(initiator.name)],
                         self.children(self.parent))
        self.disconnect(self.child, second)
        self.disconnect(self.parent, first)
        self.assertNothingLeft(self.child)
        self.assertNothingLeft(self.parent)

    def test_who_may_read_and_nobody_may_write(self):
        first, second = self.attached_pair()
        other = self.backend.make_template(4 * MIB)
        self.addCleanup(self.backend.remove_template, other)
        outsider = base.get_host(OUTSIDER)
        chap = self.template.chap
        for volume in first, second:
            export = volume.template.export
            for wrong in (connection.Chap(chap.username, 'wrong-secret-12'),
                          other.chap, connection.Chap('', '')):
                with self.assertRaises(PermissionError):
                    outsider.call(initiator.login, export.portal,
                                  export.iqn, wrong.username, wrong.password)
            disk = outsider.call(initiator.login, export.portal, export.iqn,
                                 chap.username, chap.password)
            self.addCleanup(outsider.call, initiator.logout, export.iqn)
            self.assertEqual(
                {'wwid': self.template.wwid, 'ro': '1',
                 'vendor': 'VMTHUNDR', 'model': 'relay'},
                outsider.call(initiator.inquiry, disk))
            self.assertFalse(outsider.call(initiator.writes, disk))
            self.assertEqual(self.digest, outsider.call(
                compute.checksum, disk, self.TEMPLATE_SIZE))
            outsider.call(initiator.logout, export.iqn)
        self.disconnect(self.child, second)
        self.disconnect(self.parent, first)
        self.assertNothingLeft(self.child)
        self.assertNothingLeft(self.parent)

    def test_hosts_that_attach_at_once(self):
        """The child waits for a parent that doesn't serve yet."""
        self.child.call(compute.configure, relay_wait=90)
        first = self.volume(self.parent)
        second = self.volume(self.child, self.parent)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            attaching = pool.submit(self.connect, self.child, second)
            time.sleep(2)
            self.connect(self.parent, first)
            attaching.result()
        self.assertEqual([True, False], [
            disk.relay for disk in self.child.call(compute.template_disks)])
        root_sent, parent_sent = self.read_all(self.child, second)
        self.assertLess(self.TEMPLATE_SIZE * 0.9, parent_sent)
        self.disconnect(self.child, second)
        self.disconnect(self.parent, first)

    def test_parent_that_serves_too_late(self):
        """The child starts by the root and moves when its agent asks."""
        self.child.call(compute.configure, relay_wait=2)
        second = self.volume(self.child, self.parent)
        self.connect(self.child, second)
        self.assertEqual([False], [
            disk.relay for disk in self.child.call(compute.template_disks)])
        first = self.volume(self.parent)
        self.assertHoldsImage(self.parent, self.connect(self.parent, first))
        self.assertHoldsImage(self.parent, self.path(first))
        template_id = self.template.id
        self.wait(lambda: not self.child.call(compute.log_in_to_missing,
                                              template_id))
        self.wait(lambda: [True, False] == [
            bool(disk.map) and disk.relay
            for disk in self.child.call(compute.template_disks)])
        root_sent, parent_sent = self.read_all(self.child, second)
        self.assertLess(root_sent, self.TEMPLATE_SIZE * 0.1)
        self.assertLess(self.TEMPLATE_SIZE * 0.9, parent_sent)
        self.disconnect(self.child, second)
        self.assertNothingLeft(self.child)
        self.disconnect(self.parent, first)

    def test_dead_portal(self):
        self.child.call(compute.configure, relay_wait=5)
        volume = self.volume(self.child)
        start = time.monotonic()
        self.connect(self.child, volume)
        usual = time.monotonic() - start
        self.disconnect(self.child, volume)
        template = volume.template
        dead = connection.Path(DEAD_PORTAL, template.paths[0].iqn + ':dead',
                               0, 'nobody')
        volume = self.volume(self.child)
        data = volume.to_dict()
        data['template']['paths'] = [
            {'portal': dead.portal, 'iqn': dead.iqn, 'lun': 0,
             'relay': 'nobody'}, *data['template']['paths']]
        start = time.monotonic()
        path = self.child.call(compute.connect, data, timeout=120)
        self.assertLess(time.monotonic() - start, usual + 30)
        self.assertHoldsImage(self.child, path)
        self.disconnect(self.child, volume)
        self.assertNothingLeft(self.child)

    def test_lingering(self):
        self.parent.call(compute.configure, relay_linger=1000)
        first, second = self.attached_pair()
        self.disconnect(self.parent, first)
        # the child reads on
        root_sent, parent_sent = self.read_all(self.child, second)
        self.assertLess(root_sent, MIB)
        self.assertLess(self.TEMPLATE_SIZE * 0.9, parent_sent)
        # time isn't over
        self.parent.call(compute.sweep)
        self.assertNotEqual([], self.children(self.parent))
        # now it is
        self.parent.call(compute.configure, relay_linger=1)
        self.parent.call(compute.sweep)
        self.assertNothingLeft(self.parent)
        self.child.run('sh', '-c', 'echo 3 > /proc/sys/vm/drop_caches')
        self.assertHoldsImage(self.child, self.path(second))
        self.disconnect(self.child, second)
        self.assertNothingLeft(self.child)

    def test_coming_back_while_lingering(self):
        first, second = self.attached_pair()
        self.disconnect(self.parent, first)
        third = self.volume(self.parent)
        self.assertHoldsImage(self.parent, self.connect(self.parent, third))
        self.assertNotIn('noted unused-', ' '.join(
            self.parent.call(compute.leftovers)))
        self.disconnect(self.child, second)
        self.disconnect(self.parent, third)
        self.assertNothingLeft(self.parent)


class DeadCacheTest(RelayTestCase):

    def test_template_is_read_over_the_network(self):
        """A cache device that fails is no reason to fail guests."""
        host = self.child
        host.run('modprobe', 'dm-dust', check=False)
        host.run('truncate', '-s', '2G', '/var/lib/failing')
        device = host.run('losetup', '-f', '--show',
                          '/var/lib/failing').stdout.strip()
        self.addCleanup(host.run, 'losetup', '-d', device)
        sectors = (2 << 30) // 512
        host.run('dmsetup', 'create', 'failing', '--table',
                 f'0 {sectors} error')
        self.addCleanup(host.run, 'dmsetup', 'remove', 'failing')
        host.call(compute.configure, cache_device='/dev/mapper/failing')
        volume = self.volume(host, self.parent)
        path = host.call(compute.connect, volume.to_dict(), timeout=120)
        self.assertHoldsImage(host, path)
        self.assertEqual([], [entry for entry in host.call(compute.leftovers)
                              if entry.startswith('export')])
        self.disconnect(host, volume)
