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

"""The contract of the cache layers on a real kernel."""

import time

import ddt

from tests.functional import base
from tests.functional import caching
from tests import lab

MIB = 1 << 20
# bcache wants memory in one piece for each of its tree's nodes, and the kernel
# doesn't survive that there is none.
HOST = lab.HostSpec('cache', 71, memory=768, services=())
LAYERS = ('bcache', 'none')


@ddt.ddt
class CachesTestCase(base.FunctionalTestCase):
    """One host, and read-only sources on its own disk."""

    SIZE = 48 * MIB + 1536

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.host = base.get_host(HOST)

    def setUp(self):
        super().setUp()
        self.start()
        self.addCleanup(self.host.call, caching.remove_everything)

    def start(self):
        self.host.preload(*caching.MODULES)
        self.source, self.digest = self.host.call(caching.make_source,
                                                  self.SIZE)

    def attach(self, layer, template_id=caching.ONE):
        return self.host.call(caching.attach, layer, template_id,
                              self.source, self.SIZE)

    def fetched(self, layer, function, *args):
        """Return how many bytes of the source a call on the host reads."""
        before = self.host.call(caching.fetched, self.source)
        self.host.call(function, *args)
        return self.host.call(caching.fetched, self.source) - before

    @ddt.data(*LAYERS)
    def test_bytes_are_the_sources(self, layer):
        path = self.attach(layer)
        for _time in range(2):
            self.assertEqual(self.digest,
                             self.host.call(caching.checksum, path))
        self.assertEqual(self.SIZE, self.host.call(caching.size, path))
        self.assertEqual(path, self.attach(layer))

    @ddt.data(*LAYERS)
    def test_nobody_can_write(self, layer):
        path = self.attach(layer)
        self.assertTrue(self.host.call(caching.refuses_writes, path))

    @ddt.data(*LAYERS)
    def test_a_device_in_use_is_not_detached(self, layer):
        path = self.attach(layer)
        self.assertIn('DeviceBusy', self.host.call(
            caching.detach_while_open, layer, path))
        self.assertEqual(self.digest, self.host.call(caching.checksum, path))

    @ddt.data(*LAYERS)
    def test_nothing_is_left_after_detach(self, layer):
        self.attach(layer)
        self.attach(layer, caching.TWO)
        for template_id in caching.ONE, caching.TWO, caching.ONE:
            self.host.call(caching.detach, layer, template_id)
        self.assertEqual([], self.host.call(caching.leftovers))
        self.host.call(caching.clear, layer)
        self.assertEqual([], self.host.call(caching.leftovers, True))

    def test_what_was_read_once_is_not_fetched_again(self):
        for template_id, reader in ((caching.ONE, caching.read_as_guest),
                                    (caching.TWO, caching.checksum)):
            path = self.attach('bcache', template_id)
            first = self.fetched('bcache', reader, path)
            again = self.fetched('bcache', reader, path)
            self.assertGreater(first, 8 * MIB)
            # a request with two gaps has only its first gap kept
            self.assertLess(again, first / 50, reader.__name__)

    def test_what_is_read_by_many_at_once_is_fetched_once(self):
        path = self.attach('bcache')
        self.assertLess(self.fetched('bcache', caching.read_in_step, path, 4),
                        self.SIZE * 1.02)
        self.assertEqual(self.digest, self.host.call(caching.checksum, path))

    def test_without_a_cache_all_is_fetched_again(self):
        path = self.attach('none')
        self.fetched('none', caching.checksum, path)
        self.assertGreaterEqual(
            self.fetched('none', caching.checksum, path), self.SIZE)

    def test_warm_after_detach(self):
        self.host.call(caching.checksum, self.attach('bcache'))
        self.host.call(caching.detach, 'bcache', caching.ONE)
        path = self.attach('bcache')
        self.assertLess(self.fetched('bcache', caching.checksum, path),
                        self.SIZE / 50)
        self.assertEqual(self.digest, self.host.call(caching.checksum, path))

    def test_warm_after_a_power_cut(self):
        self.host.call(caching.checksum, self.attach('bcache'))
        time.sleep(caching.INDEX_SECONDS)
        self.host.power_off()
        self.host.power_on()
        self.start()
        path = self.attach('bcache')
        self.assertLess(self.fetched('bcache', caching.checksum, path),
                        self.SIZE / 50)
        self.assertEqual(self.digest, self.host.call(caching.checksum, path))

    def test_forget(self):
        for template_id in caching.ONE, caching.TWO:
            self.host.call(caching.checksum,
                           self.attach('bcache', template_id))
            self.host.call(caching.detach, 'bcache', template_id)
        self.host.call(caching.forget, 'bcache', caching.ONE)
        self.assertEqual([], self.host.call(caching.leftovers))
        path = self.attach('bcache', caching.TWO)
        self.assertLess(self.fetched('bcache', caching.checksum, path),
                        self.SIZE / 50)
        path = self.attach('bcache', caching.ONE)
        # udev has looked at the device, and what it read is kept
        self.assertGreater(self.fetched('bcache', caching.checksum, path),
                           self.SIZE * 0.9)
        self.assertEqual(self.digest, self.host.call(caching.checksum, path))

    def test_a_named_device_that_holds_something_is_left_alone(self):
        message = self.host.call(caching.try_foreign_device)
        self.assertIn('wipefs', message)
        self.assertIn('ext4', message)
        self.assertEqual([], self.host.call(caching.leftovers))
