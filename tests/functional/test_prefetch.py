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

"""Boots that are recorded, and fetched ahead of guests elsewhere."""

import concurrent.futures
import dataclasses
import sys
import time

from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder import profile
from tests.functional import agents
from tests.functional import compute
from tests.functional import prefetching
from tests.functional import test_relays

MIB = 1 << 20
MODULES = ('os_brick_vmthunder.hostprofiles',)
# What the guest that is recorded reads, in this order.
BOOT = (range(30, 38), range(3, 9), range(40, 48, 2))


class PrefetchTestCase(test_relays.RelayTestCase):
    """A parent and a child with agents."""

    TEMPLATE_SIZE = 48 * MIB

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for host in cls.hosts:
            host.preload(*MODULES)

    def setUp(self):
        super().setUp()
        for host in self.hosts:
            host.call(compute.configure, prefetch='profile')
            self.addCleanup(host.call, prefetching.forget)

    def start_agent(self, host):
        agent = agents.start(host)
        self.addCleanup(agent.kill)
        return agent

    def foretold(self, volume, numbers):
        """Return the contract with a profile."""
        return dataclasses.replace(volume, template=dataclasses.replace(
            volume.template, profile=profile.Profile.of(
                self.TEMPLATE_SIZE, MIB, numbers)))

    def progress(self, host):
        return host.call(prefetching.progress, self.template.id)

    def wait_for_state(self, host, state):
        self.wait(lambda: getattr(self.progress(host), 'state', '') == state,
                  120)
        return self.progress(host)

    def wait_for_record(self, host):
        self.wait(lambda: host.call(prefetching.recorded, self.template.id))
        return host.call(prefetching.recorded, self.template.id)

    def network_bytes(self, host, function, *arguments):
        """Return what a host read of templates over the network for it."""
        before = host.call(compute.template_bytes)
        host.call(function, *arguments)
        return host.call(compute.template_bytes) - before


class PrefetchTest(PrefetchTestCase):

    def test_recorded_on_one_host_and_fetched_by_another(self):
        self.start_agent(self.parent)
        first = self.volume(self.parent)
        path = self.connect(self.parent, first)
        self.parent.call(prefetching.boot, path, BOOT)
        recorded = self.wait_for_record(self.parent)
        numbers = [number for group in BOOT for number in group]
        self.assertEqual(hostprofiles.Recorded(prefetching.recorded_of(
            self.TEMPLATE_SIZE, numbers).to_text()), recorded)
        # the next boot on this host is no other
        self.start_agent(self.child)
        second = self.foretold(self.volume(self.child, self.parent), numbers)
        path = self.connect(self.child, second)
        root = self.storage.network.counters()
        there = self.wait_for_state(self.child, hostprofiles.COMPLETE)
        print('\n', there, file=sys.stderr)
        self.assertEqual(len(numbers) * MIB, there.foretold)
        disks = self.child.call(compute.template_disks)
        requests = sum(disk.reads for disk in disks)
        print(f'in {requests} requests', file=sys.stderr)
        # a parent would rather be asked for 16 KiB, and bcache asks for pages
        self.assertLess(40 << 10, sum(
            disk.read_bytes for disk in disks) / requests)
        self.assertLess(self.network_bytes(
            self.child, prefetching.read, path, numbers), MIB // 4)
        # what isn't foretold isn't there
        others = range(10, 28)
        self.assertLess(16 * MIB, self.network_bytes(
            self.child, prefetching.read, path, others))
        root = (self.storage.network.counters() - root).tx_bytes
        print(f'{root} bytes from the root', file=sys.stderr)
        for host, volume in (self.child, second), (self.parent, first):
            self.disconnect(host, volume)
            self.assertNothingLeft(host)

    def test_recorded_more_closely_the_second_time(self):
        """Of a large template, where there isn't the memory to at first."""
        size, length = 20 << 30, 2 * profile.UNIT
        offsets = [11 << 30, *range(0, 64 * MIB, MIB), 19 << 30,
                   size - length]
        first, second = self.child.call(prefetching.record_closely, size,
                                        offsets, length)
        print(f'\nareas of {first.area >> 10} KiB, then of '
              f'{second.area >> 10} KiB', file=sys.stderr)
        self.assertLess(4 * len(offsets) * length, first.bytes)
        self.assertTrue(second.refines(first))
        self.assertEqual([(offset, length) for offset in offsets],
                         list(second.pieces))

    def test_all_of_a_template_and_detached_in_the_middle(self):
        self.child.call(compute.configure, prefetch='all')
        agent = self.start_agent(self.child)
        volume = self.volume(self.child)
        self.child.network.shape(16)
        self.addCleanup(self.child.network.shape, None)
        self.connect(self.child, volume)
        self.wait(lambda: getattr(self.progress(self.child), 'done', 0) >
                  4 * MIB)
        # what can't be read isn't done: it is read once it can be
        self.storage.network.cut()
        time.sleep(8)
        self.storage.network.restore()
        # another agent goes on where one was killed
        agent.kill()
        before = self.progress(self.child)
        self.start_agent(self.child)
        self.wait(lambda: self.progress(self.child).done > before.done)
        self.assertLess(self.progress(self.child).done,
                        self.TEMPLATE_SIZE)
        start = time.monotonic()
        self.disconnect(self.child, volume)
        print(f'\ndetached in {time.monotonic() - start:.1f} s',
              file=sys.stderr)
        self.assertNothingLeft(self.child)
        self.child.network.shape(None)
        volume = self.volume(self.child)
        path = self.connect(self.child, volume)
        self.wait_for_state(self.child, hostprofiles.COMPLETE)
        # this host needs nobody any more
        before = self.child.call(compute.template_bytes)
        self.assertHoldsImage(self.child, path)
        self.assertEqual(before, self.child.call(compute.template_bytes))
        self.disconnect(self.child, volume)
        self.assertNothingLeft(self.child)

    def test_guests_go_first(self):
        self.child.call(compute.configure, prefetch='all')
        volume = self.volume(self.child)
        path = self.connect(self.child, volume)
        # all takes half a minute: it isn't over before guests begin
        self.child.network.shape(16)
        self.addCleanup(self.child.network.shape, None)
        self.start_agent(self.child)
        self.wait(lambda: self.progress(self.child))
        read, fetched = self.child.call(
            prefetching.read_on, path, self.TEMPLATE_SIZE // 2, 5.0, 4)
        print(f'\nguests {read}, prefetched {fetched}', file=sys.stderr)
        self.assertLess(fetched, read / 4)
        # all that guests read was counted
        self.assertLess(-MIB, fetched)
        self.child.network.shape(None)
        self.wait_for_state(self.child, hostprofiles.COMPLETE)
        self.disconnect(self.child, volume)

    def test_wrong_and_hostile_profiles(self):
        agents = [self.start_agent(host) for host in self.hosts]
        wrong = self.foretold(self.volume(self.parent), range(47, -1, -9))
        hostile = self.foretold(self.volume(self.child), ()).to_dict()
        hostile['template']['profile'] = 'v2 40 0+ffffffff'
        with concurrent.futures.ThreadPoolExecutor() as pool:
            other = pool.submit(self.child.call, compute.connect, hostile,
                                timeout=120)
            path = self.connect(self.parent, wrong)
            self.parent.call(prefetching.boot, path, BOOT, 0.1)
            self.assertHoldsImage(self.child, other.result())
            self.wait_for_state(self.parent, hostprofiles.COMPLETE)
        # what boots now is recorded anew
        recorded = self.wait_for_record(self.parent)
        self.assertEqual(wrong.template.profile.digest, recorded.replaces)
        self.assertNotEqual(recorded.text, wrong.template.profile.to_text())
        self.assertEqual('', self.wait_for_record(self.child).replaces)
        self.assertHoldsImage(self.parent, path)
        self.assertTrue(all(agent.alive for agent in agents))
        self.child.call(compute.disconnect, hostile, timeout=180)
        self.disconnect(self.parent, wrong)
        for host in self.hosts:
            self.assertNothingLeft(host)
