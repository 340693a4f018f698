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

import json
import subprocess
import unittest

import ddt
import hypothesis
from hypothesis import strategies as st

from os_brick_vmthunder import overlaystore

GIB = 1 << 30
CLUSTERS = st.integers(14, 20).map(lambda bits: 1 << bits)


@ddt.ddt
class OverlayStoreTest(unittest.TestCase):

    @ddt.data(GIB, 10 * GIB, 100 * GIB, 7 << 40, 3 * GIB + 512)
    def test_what_qemu_measures_fits(self, size):
        """And what crashes leak, which it doesn't count."""
        said = subprocess.run(
            ['qemu-img', 'measure', '--output', 'json', '-O', 'qcow2',
             '-o', overlaystore.OPTIONS, '--size', str(size)],
            check=True, capture_output=True, text=True)
        needed = json.loads(said.stdout)['fully-allocated']
        store = overlaystore.store_size(size, overlaystore.CLUSTER)
        self.assertLessEqual(needed + size // 64, store)
        self.assertLess(store, 1.02 * needed + (1 << 20))

    @hypothesis.given(CLUSTERS, st.integers(1, 1 << 46))
    def test_counts_count_all_clusters(self, cluster, size):
        clusters = overlaystore.store_size(size, cluster) // cluster
        data = -(-size // cluster)
        places = -(-data * 16 // cluster)
        counts = -(-clusters * 2 // cluster)
        self.assertGreaterEqual(
            clusters, 1 + data + places + -(-places * 8 // cluster) +
            counts + -(-counts * 8 // cluster))

    @hypothesis.given(CLUSTERS, st.integers(1, 1 << 46), st.integers(0, GIB))
    def test_larger_volume_takes_no_less(self, cluster, size, more):
        self.assertLessEqual(
            overlaystore.store_size(size, cluster) + more // cluster *
            cluster, overlaystore.store_size(size + more, cluster))

    def test_no_room(self):
        for size in (0, 4096, GIB):
            self.assertEqual(0, overlaystore.volume_size(size, 1 << 17))

    @hypothesis.given(CLUSTERS, st.integers(1, 10000), st.integers(9, 30),
                      st.data())
    def test_store_tells_what_it_was_made_for(self, cluster, gib,
                                              extent_bits, data):
        size = overlaystore.store_size(gib * GIB, cluster)
        extent = 1 << extent_bits
        store = -(-size // extent) * extent
        self.assertEqual(gib * GIB, overlaystore.volume_size(store, cluster))
        # nor would any other rounding by less than a GiB mislead
        store = size + data.draw(st.integers(0, GIB - 1))
        self.assertEqual(gib * GIB, overlaystore.volume_size(store, cluster))
        self.assertEqual((gib - 1) * GIB,
                         overlaystore.volume_size(size - 1, cluster))
