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
"""Tests of the storms' model, and of a small storm."""

import contextlib
import graphlib
import io
import json
import unittest
from unittest import mock

import ddt

from cinder_vmthunder import topology as planner
from tests.bench import network as networks
from tests.bench import topology

# A working set takes 8 s on a link, a block 1 s.
NETWORK = networks.Network(bandwidth=1, latency=0.5, working_set=8, block=1)


@ddt.ddt
class NetworkTest(unittest.TestCase):

    @ddt.data(
        ('nobody', {}, 0, 0, 0, 0),
        ('one', {'a': ()}, 1, 1, 0, 8.5),
        ('two share the root', {'a': (), 'b': ()}, 1, 2, 0, 16.5),
        ('a chain', {'c': 'b', 'b': 'a', 'a': ()}, 3, 1, 1, 8 + 1.5 + 2),
        ('two share a relay', {'a': (), 'b': 'a', 'c': 'a'}, 2, 1, 2,
         16 + 1 + 1),
        ('half from each', {'a': (), 'b': (), 'c': 'ab', 'd': 'ba'},
         2, 2, 1, 16 + 1 + 2),
        ('the slower parent counts', {'a': (), 'b': 'a', 'c': 'ab'},
         3, 1, 1.5, 12 + 0.5 + (1 + 0.5) + (1.5 + 0.5)),
        ('a load of less than a link', {'a': (), 'b': 'a', 'c': 'b'},
         3, 1, 1, 8 + 1.5 + 2))
    @ddt.unpack
    def test_spread(self, _name, parents, depth, root, load, seconds):
        self.assertEqual(networks.Spread(depth, root, load, seconds),
                         networks.spread(parents, NETWORK))

    def test_circle(self):
        self.assertRaises(graphlib.CycleError, networks.spread,
                          {'a': 'b', 'b': 'a'}, NETWORK)

    @ddt.data((1, 8.5), (2, 9.5), (3, 9.5), (4, 10.5), (1000, 17.5))
    @ddt.unpack
    def test_least_seconds(self, hosts, seconds):
        self.assertEqual(seconds, networks.least_seconds(hosts, NETWORK))

    @ddt.data((1, 1), (2, 1), (3, 2), (8, 2), (9, 3))
    @ddt.unpack
    def test_least_depth(self, hosts, depth):
        self.assertEqual(depth, networks.least_depth(hosts, 2, 3))

    def test_star_is_what_the_model_says(self):
        star = {str(number): () for number in range(7)}
        self.assertEqual(networks.star_seconds(7, NETWORK),
                         networks.spread(star, NETWORK).seconds)


class StormTest(unittest.TestCase):

    def test_steps(self):
        storm = topology.Storm(planner.Limits(2, 2), networks.Network())
        rows = storm.run(40)
        self.assertEqual([40, 36, 36, 32, 32, 40],
                         [row.hosts for row in rows])
        self.assertEqual((40, 0, 0, 8), (rows[0].placed, rows[1].placed,
                                         rows[3].placed, rows[5].placed))
        first = rows[0]
        self.assertEqual((5, 5, 2, 2.0, 1.0), (
            first.depth, first.least_depth, first.root_children,
            first.largest_load, first.two_parents))
        for row in rows:
            self.assertGreaterEqual(row.seconds, row.bound)
            self.assertGreater(row.star, row.seconds)

    def test_json(self):
        output = io.StringIO()
        with mock.patch('sys.argv', ['storm', '12', '--limits', '1:2', '3:1',
                                     '--zones', '2', '--json']), \
                contextlib.redirect_stdout(output):
            topology.main()
        rows = json.loads(output.getvalue())['rows']
        self.assertEqual([(1, 2, 12), (3, 1, 12)], [
            (row['root'], row['relay'], row['hosts']) for row in rows
            if row['step'] == 'storm'])

    def test_table(self):
        output = io.StringIO()
        with mock.patch('sys.argv', ['storm', '5', '--limits', '2:2']), \
                contextlib.redirect_stdout(output):
            topology.main()
        lines = output.getvalue().splitlines()
        self.assertEqual(7, len(lines))
        self.assertEqual({len(lines[0])}, set(map(len, lines)))
