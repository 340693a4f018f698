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

import io
import pathlib
import threading
import time
import unittest
from unittest import mock

from demo import meter
from demo import probe
from demo import progress
from demo import results
from demo import scenario


class TogetherTest(unittest.TestCase):

    def test_order(self):
        second_ran = threading.Event()

        def first():
            self.assertTrue(second_ran.wait(10))
            return 1

        def second():
            second_ran.set()
            return 2

        self.assertEqual([1, 2], scenario.together(first, second))

    def test_failure_comes_at_once(self):
        never = threading.Event()
        self.addCleanup(never.set)

        def fail():
            raise KeyError('x')

        with self.assertRaises(KeyError):
            scenario.together(lambda: never.wait(60), fail)


class Nova:
    """Servers that boot at once and say what the image's machines say."""

    def __init__(self):
        self.boots = {}
        self.places = {}
        self.deleted = []

    def create_flavor(self, name):
        return 'flavor'

    def create(self, name, flavor, *, image, volume_type, host):
        assert (flavor, image, volume_type) == (
            'flavor', 'image', 'vmthunder')
        id = f'id-of-{name}'
        self.boots[id], self.places[id] = 1, host
        return id

    def wait(self, server_id):
        assert server_id in self.places

    def migrate(self, server_id, host):
        self.boots[server_id] += 1
        self.places[server_id] = host

    def host(self, server_id):
        return self.places[server_id]

    def console(self, server_id):
        diary = ''.join(f'boot by {server_id} {number + 1}\n'
                        for number in range(self.boots[server_id]))
        return (f'=== diary begins\n{diary}=== diary ends, userland intact\n'
                f'=== server {server_id[-1]}\n'
                f'=== beat 1, 8 sectors, data intact\n')

    def delete(self, server_id):
        self.deleted.append(server_id)


class ScenarioTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.plane = mock.Mock()
        self.plane.upload_image.return_value = 'image'
        self.nova = self.plane.nova.servers = Nova()
        self.left = {name: [] for name in ('compute-1', 'compute-2',
                                           'storage')}
        hosts = {name: self.host(name) for name in self.left}
        self.plane.storage = hosts.pop('storage')
        self.plane.nova.hosts = list(hosts.values())
        self.volumes = self.plane.volumes.volumes.list
        self.volumes.return_value = []
        self.plane.volumes.attachments.list.return_value = []
        log = self.plane.log.return_value.read_text
        log.return_value = 'x Imported image other as y\n' \
                           'x Imported image image as y\n'
        # A lap's bytes are how many laps the host had.
        patch = mock.patch.object(meter, 'Meter', side_effect=lambda host:
                                  mock.Mock(lap=mock.Mock(side_effect=[
                                      results.Reading(number)
                                      for number in range(1, 9)])))
        patch.start()
        self.addCleanup(patch.stop)

    def host(self, name):
        host = mock.Mock()
        host.name = name
        host.call = lambda function, *_: {
            probe.leftovers: self.left[name],
            probe.backend_leftovers: self.left[name]}[function]
        return host

    def run_story(self):
        return scenario.Scenario(
            self.plane, progress.Progress(io.StringIO())).run(
                pathlib.Path('image.qcow2'))

    def test_every_server_boots_on_both_hosts(self):
        outcome = self.run_story()
        for name in 'ABC':
            boots = [boot for boot in outcome.boots
                     if boot.server == results.Server(name, f'id-of-{name}')]
            self.assertEqual({'compute-1', 'compute-2'},
                             {boot.host for boot in boots})
            self.assertEqual([1, 2],
                             [len(boot.guest.diary) for boot in boots])
        self.assertEqual({'id-of-A', 'id-of-B', 'id-of-C'},
                         set(self.nova.deleted))
        self.assertEqual((1, ()), (outcome.imports, outcome.leftovers))

    def test_all_laps_count(self):
        turns = {(turn.host, turn.servers): turn.reading.template_bytes
                 for turn in self.run_story().turns}
        self.assertEqual({
            ('compute-1', ('A',)): 1, ('compute-1', ('B',)): 2,
            ('compute-1', ('C',)): 3, ('compute-2', ('C',)): 1,
            ('compute-2', ('A', 'B')): 2}, turns)

    def test_leftovers(self):
        self.left['compute-2'] = ['device x']
        self.left['storage'] = ['volume-x']
        self.volumes.return_value = [mock.Mock(id='x', status='deleting')]
        with mock.patch.object(scenario, 'CLEAN_TIMEOUT', -1):
            outcome = self.run_story()
        self.assertEqual(
            ('Cinder: volume x, deleting', 'storage: volume-x',
             'compute-2: device x'), outcome.leftovers)

    def test_what_goes_late_is_not_left(self):
        volume = mock.Mock(id='x', status='deleting')
        self.volumes.side_effect = [[volume], []]
        with mock.patch.object(time, 'sleep'):
            self.assertEqual((), self.run_story().leftovers)
