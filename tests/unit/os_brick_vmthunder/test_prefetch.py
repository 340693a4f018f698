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
import threading
import unittest
from unittest import mock

import ddt

from os_brick_vmthunder import agentprefetch
from os_brick_vmthunder.caches import base
from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder import prefetch
from os_brick_vmthunder import profile
from tests.unit.os_brick_vmthunder import fake_kernel
from tests.unit.os_brick_vmthunder import test_hostprofiles

ONE = test_hostprofiles.ONE
MIB = profile.MIB
SIZE = 20 * MIB
WHAT = hostprofiles.Foretold(SIZE, 'v2 40 5+2 1')


class DemandTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.now = 100.0
        self.kernel = fake_kernel.FakeKernel(self)
        self.load(1000, 0)
        self.demand = prefetch.Demand('dm-0', lambda: self.now)

    def load(self, sectors, waiting):
        self.kernel.write(f'9 0 {sectors} 8 0 0 0 0 {waiting} 7 7',
                          'block', 'dm-0', 'stat')

    def room(self, after):
        self.now += after
        return self.demand.room()

    def test_none_while_others_wait(self):
        self.load(1000, 1)
        for after in 0, 0.01, 5:
            self.assertEqual(0, self.room(after))
        self.load(1008, 0)
        self.assertEqual(0, self.room(0.001))  # they may go on

    def test_little_between_others_reads(self):
        self.room(0)
        self.assertEqual(prefetch.SMALL, self.room(0.01))
        self.load(1008, 0)
        self.assertEqual(0, self.room(0.01))
        self.assertEqual(prefetch.SMALL, self.room(0.01))

    def test_much_when_nobody_reads(self):
        self.room(0)
        self.assertEqual(prefetch.LARGE, self.room(1))

    def test_what_was_fetched_is_nobody_elses(self):
        self.room(0)
        self.room(1)
        self.load(1000 + prefetch.LARGE // 512, 0)
        self.demand.took(prefetch.LARGE)
        self.assertEqual(prefetch.LARGE, self.room(0))
        self.load(1008 + prefetch.LARGE // 512, 0)
        self.assertEqual(0, self.room(0))

    def test_device_that_went(self):
        demand = prefetch.Demand('dm-7', lambda: self.now)
        self.assertEqual(prefetch.SMALL, demand.room())


class FakeCache:
    """Keeps what is read, but not what it is told to drop once."""

    def __init__(self):
        self.kept = set()
        self.dropped = set()
        self.asked = []
        self.told = []
        self.read_since = []
        self.fetched = 0
        self.there = True
        self.errors = []
        self.before = lambda offset: None

    def device(self, template_id):
        return '/dev/mapper/cached' if self.there else None

    def stats(self, template_id):
        return base.CacheStats(0, self.fetched)

    def ahead(self, template_id):
        return self

    @contextlib.contextmanager
    def of(self, offset, length):
        self.told.append((offset, length))
        yield
        self.read_since.append(self.asked[-1])

    def read(self, device, offset, length):
        self.before(offset)
        if self.errors:
            raise self.errors.pop()
        self.asked.append((offset, length))
        for number in range(offset // prefetch.SMALL,
                            -(-(offset + length) // prefetch.SMALL)):
            if number not in self.kept:
                self.fetched += prefetch.SMALL
                if number in self.dropped:
                    self.dropped.remove(number)
                else:
                    self.kept.add(number)


class FakeDemand:
    """Lets pass what the test says."""

    rooms: list[int] = []

    def __init__(self, kernel):
        pass

    def room(self):
        return self.rooms.pop(0) if self.rooms else prefetch.LARGE

    def took(self, length):
        pass


class FetchTestCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        test_hostprofiles.use(self)
        self.cache = FakeCache()
        self.rooms = FakeDemand.rooms = []
        self.slept = []
        self.stands_on = False
        for target, name, new in (
                (prefetch, 'Demand', FakeDemand),
                (prefetch, '_open', contextlib.nullcontext),
                (prefetch, '_read', self.cache.read),
                (prefetch.sysfs, 'kernel_name', lambda device: 'dm-0'),
                (prefetch.paths, 'find', lambda template_id: '/dev/dm-9'),
                (prefetch.stack, 'stands_on',
                 lambda *devices: self.stands_on),
                (prefetch.time, 'sleep', self.slept.append),
                # a busy machine's reads take long, and so get smaller
                (prefetch.time, 'monotonic', lambda: 100.0)):
            patch = mock.patch.object(target, name, new)
            patch.start()
            self.addCleanup(patch.stop)
        hostprofiles.foretold.write(ONE, WHAT)

    @property
    def progress(self):
        return hostprofiles.progress.read(ONE)

    def fetch(self, mode='profile', what=WHAT):
        prefetch.Fetch(ONE, what, mode, self.cache).run()


@ddt.ddt
class FetchTest(FetchTestCase):

    def test_in_order_and_no_more(self):
        self.fetch()
        first = [(5 * MIB, MIB), (6 * MIB, MIB), (MIB, MIB)]
        self.assertEqual(first * 2, self.cache.asked)
        self.assertEqual(3 * MIB, self.cache.fetched)
        self.assertEqual(
            hostprofiles.Progress('profile', WHAT.profile.digest, 3 * MIB,
                                  3 * MIB, 1, 3 * MIB, 'complete'),
            self.progress)

    def test_cache_is_told_before(self):
        self.fetch('all')
        self.assertEqual(self.cache.told, self.cache.asked)
        self.assertEqual(self.cache.told, self.cache.read_since)

    def test_the_rest_afterwards(self):
        self.fetch('all')
        offsets = [offset // MIB for offset, _length in self.cache.asked]
        self.assertEqual([5, 6, 1, 0, 2, 3, 4, *range(7, 20)], offsets[:20])
        self.assertEqual(SIZE, self.cache.fetched)
        self.assertEqual('complete', self.progress.state)

    def test_again_until_the_cache_has_kept_it(self):
        self.cache.dropped = {20, 21}
        self.fetch()
        self.assertEqual(3, len(self.cache.asked) // 3)
        self.assertEqual(set(), {20, 21} - self.cache.kept)
        self.assertEqual('complete', self.progress.state)

    def test_but_not_for_ever(self):
        self.cache.kept = mock.MagicMock()  # it keeps nothing
        self.fetch()
        self.assertEqual(5 * 3, len(self.cache.asked))
        self.assertEqual('complete', self.progress.state)

    def test_what_guests_are_about_to_ask_for_waits_for_nobody(self):
        self.rooms += [0] * 8
        self.fetch('all')
        self.assertEqual([(5 * MIB + number * prefetch.SMALL, prefetch.SMALL)
                          for number in range(8)], self.cache.asked[:8])
        self.assertEqual([], self.slept)

    def test_but_a_profile_that_is_long_does(self):
        self.rooms += [0] * 8
        with mock.patch.object(prefetch, '_DUE', MIB):
            self.fetch()
        self.assertEqual([0.002, 0.004, 0.008, 0.016], self.slept)

    def test_so_does_what_was_asked_for_already(self):
        self.rooms += [prefetch.LARGE] * 3 + [0]
        self.fetch()
        self.assertEqual([0.002], self.slept)

    @mock.patch.object(prefetch, '_DUE', 0)
    def test_waits_for_others(self):
        self.rooms += [0, 0, prefetch.SMALL, 0, prefetch.LARGE]
        self.fetch()
        self.assertEqual([(5 * MIB, prefetch.SMALL),
                          (5 * MIB + prefetch.SMALL, MIB)],
                         self.cache.asked[:2])
        self.assertEqual([0.002, 0.004, 0.002], self.slept)

    @mock.patch.object(prefetch, '_DUE', 0)
    def test_looks_less_often_the_longer_it_waits(self):
        self.rooms += [0] * 8
        self.fetch()
        self.assertEqual([0.002, 0.004, 0.008, 0.016, *[0.032] * 4],
                         self.slept)

    def test_asks_for_less_where_it_takes_long(self):
        now, speed = [0.0], [MIB]  # bytes a second

        def read(device, offset, length):
            now[0] += length / speed[0]
            self.cache.asked.append(length)
            if len(self.cache.asked) == 12:
                speed[0] *= 1000

        with mock.patch.object(prefetch, '_read', read), \
                mock.patch.object(prefetch.time, 'monotonic',
                                  lambda: now[0]):
            self.fetch('all')
        self.assertEqual([prefetch.LARGE, 512 << 10, prefetch.SMALL,
                          prefetch.SMALL], self.cache.asked[:4])
        self.assertEqual(prefetch.LARGE, self.cache.asked[-1])

    @ddt.data(OSError(5, 'Input/output error'), OSError(2, 'gone'))
    def test_failed_read_is_done_again(self, error):
        states = []
        self.cache.errors = [error, error]
        self.cache.before = lambda offset: states.append(self.progress.state)
        self.fetch()
        self.assertEqual(['fetching', 'waiting', 'waiting'], states[:3])
        self.assertEqual((5 * MIB, MIB), self.cache.asked[0])
        self.assertEqual(3 * MIB, self.progress.fetched)

    def test_template_that_is_not_there_yet(self):
        self.cache.there = False
        with mock.patch.object(prefetch.time, 'sleep',
                               lambda seconds: setattr(self.cache, 'there',
                                                       True)):
            self.fetch()
        self.assertEqual('complete', self.progress.state)

    @ddt.data(lambda: hostprofiles.forget(ONE),
              lambda: hostprofiles.foretold.write(
                  ONE, hostprofiles.Foretold(SIZE, 'v2 40 0')))
    def test_ends_when_it_is_no_longer_wanted(self, change):
        self.cache.before = lambda offset: offset == 6 * MIB and change()
        self.fetch()
        self.assertEqual(2, len(self.cache.asked))

    def test_goes_on_where_another_was_killed(self):
        self.cache.before = lambda offset: 1 / (offset != 6 * MIB)
        with mock.patch.object(prefetch, '_NOTE_SECONDS', 0):
            self.assertRaises(ZeroDivisionError, self.fetch)
        self.cache.before = lambda offset: None
        self.cache.asked.clear()
        self.fetch()
        self.assertEqual([(6 * MIB, MIB), (MIB, MIB), (5 * MIB, MIB)],
                         self.cache.asked[:3])
        self.assertEqual('complete', self.progress.state)

    def test_does_nothing_again(self):
        self.fetch()
        self.cache.asked.clear()
        self.fetch()
        self.assertEqual([], self.cache.asked)
        self.fetch('all')
        self.assertNotEqual([], self.cache.asked)

    def test_nothing_is_fetched_that_would_not_stay(self):
        self.stands_on = True
        self.fetch('all')
        self.assertEqual([], self.cache.asked)
        self.assertEqual('uncached', self.progress.state)

    def test_nothing_is_foretold(self):
        what = hostprofiles.Foretold(SIZE)
        hostprofiles.foretold.write(ONE, what)
        self.fetch(what=what)
        self.assertEqual([], self.cache.asked)
        self.assertEqual(('complete', 0),
                         (self.progress.state, self.progress.foretold))


class PrefetcherTest(FetchTestCase):

    def setUp(self):
        super().setUp()
        self.prefetcher = agentprefetch.Prefetcher(self.cache, 'profile')
        self.passing = threading.Event()
        # nobody may go on among the next tests
        self.addCleanup(self.join)
        self.addCleanup(self.passing.set)
        self.begun = threading.Event()
        self.cache.before = self.block

    def block(self, offset):
        self.begun.set()
        self.assertTrue(self.passing.wait(30))

    def look(self):
        """Look, and wait for who was set to work."""
        self.prefetcher.look()
        if self.passing.is_set():
            self.join()

    def join(self):
        for _written, thread in self.prefetcher._begun.values():
            thread.join(30)

    def test_fetches_once(self):
        self.passing.set()
        self.look()
        self.look()
        self.assertEqual('complete', self.progress.state)
        self.assertEqual(6, len(self.cache.asked))

    def test_who_hangs_keeps_nobody(self):
        other = test_hostprofiles.OTHER
        self.look()
        self.assertTrue(self.begun.wait(30))
        hostprofiles.forget(ONE)
        self.look()
        self.begun.clear()
        hostprofiles.foretold.write(other, WHAT)
        self.look()
        self.assertTrue(self.begun.wait(30))

    def test_one_at_a_time_for_a_template(self):
        self.look()
        self.assertTrue(self.begun.wait(30))
        new = dataclasses.replace(WHAT, text='v2 40 9')
        hostprofiles.foretold.write(ONE, new)
        self.look()
        self.assertEqual(1, len(self.prefetcher._begun))
        self.passing.set()
        self.look()  # the other sees that it is no longer wanted
        self.look()
        self.assertEqual((9 * MIB, MIB), self.cache.asked[-1])
        self.assertEqual(new.profile.digest, self.progress.digest)

    def test_template_that_comes_again(self):
        self.passing.set()
        self.look()
        hostprofiles.forget(ONE)
        self.look()
        self.assertEqual({}, self.prefetcher._begun)
        hostprofiles.foretold.write(ONE, WHAT)
        self.look()
        self.assertEqual('complete', self.progress.state)

    def test_template_that_comes_again_at_once(self):
        """Who fetches sees that it goes, but not who looks."""
        self.passing.set()
        self.cache.before = lambda offset: hostprofiles.forget(ONE)
        self.look()
        self.assertIsNone(self.progress)
        self.cache.before = self.block
        hostprofiles.foretold.write(ONE, WHAT)
        self.look()
        self.assertEqual('complete', self.progress.state)

    def test_file_that_makes_no_sense(self):
        hostprofiles.foretold.write(ONE, hostprofiles.Foretold(SIZE, 'v8'))
        self.passing.set()
        self.look()
        self.assertEqual([], self.cache.asked)
