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
HOST = lab.HostSpec('cache', 67, memory=768, services=())
LAYERS = ('bcache', 'dm-cache', 'none')
KEEPING = LAYERS[:-1]
# Until what was read is kept over a power cut.
SETTLED_SECONDS = {'bcache': caching.INDEX_SECONDS, 'dm-cache': 0}
# Their modules are in no kernel of today.
LACKING = {'flashcache': 'flashcache', 'opencas': 'cas_cache'}


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

    def start(self):
        self.host.preload(*caching.MODULES)
        self.source, self.digest = self.host.call(caching.make_source,
                                                  self.SIZE)

    def use(self, layer):
        """Have what is made of a layer removed at the end."""
        self.addCleanup(self.host.call, caching.remove_everything, layer)
        self.promises = self.host.call(caching.promises, layer)

    def attach(self, layer, template_id=caching.ONE, source='', device=''):
        return self.host.call(caching.attach, layer, template_id,
                              source or self.source, self.SIZE, device)

    def attach_on(self, device, layer):
        """Attach by a device that is removed at the end, with all on it."""
        self.addCleanup(self.host.call, caching.remove_device, layer)
        self.addCleanup(self.host.call, caching.detach, layer, caching.ONE)
        return self.attach(layer, device=device)

    def fetched(self, layer, function, *args):
        """Return how many bytes of the source a call on the host reads."""
        before = self.host.call(caching.fetched, self.source)
        self.host.call(function, *args)
        return self.host.call(caching.fetched, self.source) - before

    def warm_up(self, layer):
        """Return how much of a template that was read is read again."""
        path = self.attach(layer)
        self.host.call(caching.checksum, path)
        if self.promises.kept_at_first_touch:
            # but for what comes while the kernel has no time to make room
            self.host.call(caching.checksum, path)
            return self.SIZE // 50
        # what it is about to keep gets lost
        return self.host.call(caching.read_often, path,
                              self.source) + self.SIZE // 5

    @ddt.data(*LACKING)
    def test_what_this_kernel_lacks_is_told_in_one_line(self, layer):
        said = self.host.call(caching.refusal, layer)
        self.assertRegex(said, f'layer {layer} .*no module '
                               f'{LACKING[layer]}; .*cache = none')
        self.assertNotIn('\n', said)
        self.assertEqual([], self.host.call(caching.leftovers, True))

    @ddt.data(*LAYERS)
    def test_bytes_are_the_sources(self, layer):
        self.use(layer)
        path = self.attach(layer)
        for _time in range(2):
            self.assertEqual(self.digest,
                             self.host.call(caching.checksum, path))
        self.assertEqual(self.SIZE, self.host.call(caching.size, path))
        self.assertEqual(path, self.attach(layer))

    @ddt.data(*LAYERS)
    def test_nobody_can_write(self, layer):
        self.use(layer)
        path = self.attach(layer)
        self.assertTrue(self.host.call(caching.refuses_writes, path))

    @ddt.data(*LAYERS)
    def test_a_device_in_use_is_not_detached(self, layer):
        self.use(layer)
        path = self.attach(layer)
        self.assertIn('DeviceBusy', self.host.call(
            caching.detach_while_open, layer, path))
        self.assertEqual(self.digest, self.host.call(caching.checksum, path))

    @ddt.data(*LAYERS)
    def test_nothing_is_left_after_detach(self, layer):
        self.use(layer)
        self.attach(layer)
        self.attach(layer, caching.TWO)
        for template_id in caching.ONE, caching.TWO, caching.ONE:
            self.host.call(caching.detach, layer, template_id)
        self.assertEqual([], self.host.call(caching.leftovers))
        self.host.call(caching.clear, layer)
        self.assertEqual([], self.host.call(caching.leftovers, True))

    @ddt.data(*KEEPING)
    def test_what_was_read_once_is_not_fetched_again(self, layer):
        self.use(layer)
        for template_id, reader in ((caching.ONE, caching.read_as_guest),
                                    (caching.TWO, caching.checksum)):
            path = self.attach(layer, template_id)
            first = self.fetched(layer, reader, path)
            again = self.fetched(layer, reader, path)
            self.assertGreater(first, 8 * MIB)
            if self.promises.kept_at_first_touch:
                # a request with two gaps has only its first gap kept
                self.assertLess(again, first / 50, reader.__name__)

    def test_what_is_read_often_is_fetched_less(self):
        self.use('dm-cache')
        path = self.attach('dm-cache')
        self.assertLess(self.host.call(caching.read_often, path,
                                       self.source), self.SIZE * 0.7)

    @ddt.data(*KEEPING)
    def test_what_is_read_by_many_at_once_is_fetched_once(self, layer):
        self.use(layer)
        path = self.attach(layer)
        self.assertLess(self.fetched(layer, caching.read_in_step, path, 4),
                        self.SIZE * 1.02)
        self.assertEqual(self.digest, self.host.call(caching.checksum, path))

    def test_without_a_cache_all_is_fetched_again(self):
        self.use('none')
        path = self.attach('none')
        self.fetched('none', caching.checksum, path)
        self.assertGreaterEqual(
            self.fetched('none', caching.checksum, path), self.SIZE)

    @ddt.data(*KEEPING)
    def test_warm_after_detach(self, layer):
        self.use(layer)
        warm = self.warm_up(layer)
        self.host.call(caching.detach, layer, caching.ONE)
        path = self.attach(layer)
        self.assertLess(self.fetched(layer, caching.checksum, path), warm)
        self.assertEqual(self.digest, self.host.call(caching.checksum, path))

    @ddt.data('bcache')
    def test_warm_after_a_power_cut(self, layer):
        self.use(layer)
        self.assertTrue(self.promises.kept_after_reboot)
        warm = self.warm_up(layer)
        time.sleep(SETTLED_SECONDS[layer])
        # as the host's agent does all the time
        self.host.call(caching.settle, layer, caching.ONE)
        self.host.power_off()
        self.host.power_on()
        self.start()
        path = self.attach(layer)
        self.assertLess(self.fetched(layer, caching.checksum, path), warm)
        self.assertEqual(self.digest, self.host.call(caching.checksum, path))

    @ddt.data(*KEEPING)
    def test_templates_are_kept_apart(self, layer):
        self.use(layer)
        other, digest = self.host.call(caching.make_source, self.SIZE,
                                       'source-two')
        for _time in range(2):
            one = self.attach(layer)
            two = self.attach(layer, caching.TWO, other)
            self.assertEqual(self.digest,
                             self.host.call(caching.checksum, one))
            self.assertEqual(digest, self.host.call(caching.checksum, two))
            for template_id in caching.ONE, caching.TWO:
                self.host.call(caching.detach, layer, template_id)

    @ddt.data(*KEEPING)
    def test_a_cache_device_that_fails_fails_no_read(self, layer):
        self.use(layer)
        path = self.attach_on(self.host.call(caching.make_device), layer)
        self.host.call(caching.checksum, path)
        self.host.call(caching.read_often, path, self.source)
        self.host.call(caching.fail_device)
        for _time in range(2):
            self.assertEqual(self.digest,
                             self.host.call(caching.checksum, path))

    def test_a_cache_device_slow_at_writing_keeps_nearly_all(self):
        self.use('bcache')
        path = self.attach_on(self.host.call(
            caching.make_slow_device, 32 << 30, 100), 'bcache')
        first = self.fetched('bcache', caching.read_as_guest, path)
        again = self.fetched('bcache', caching.read_as_guest, path)
        self.assertGreater(first, 8 * MIB)
        self.assertLess(again, first / 20)

    @ddt.data(*KEEPING)
    def test_forget(self, layer):
        self.use(layer)
        for template_id in caching.ONE, caching.TWO:
            self.host.call(caching.checksum,
                           self.attach(layer, template_id))
            self.host.call(caching.detach, layer, template_id)
        self.host.call(caching.forget, layer, caching.ONE)
        self.assertEqual([], self.host.call(caching.leftovers))
        path = self.attach(layer, caching.TWO)
        if self.promises.kept_at_first_touch:
            self.assertLess(self.fetched(layer, caching.checksum, path),
                            self.SIZE / 50)
        path = self.attach(layer, caching.ONE)
        # udev has looked at the device, and what it read is kept
        self.assertGreater(self.fetched(layer, caching.checksum, path),
                           self.SIZE * 0.9)
        self.assertEqual(self.digest, self.host.call(caching.checksum, path))

    def test_a_named_device_that_holds_something_is_left_alone(self):
        self.use('bcache')
        message = self.host.call(caching.try_foreign_device)
        self.assertIn('wipefs', message)
        self.assertIn('ext4', message)
        self.assertEqual([], self.host.call(caching.leftovers))
