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

import unittest

import ddt
import hypothesis
from hypothesis import strategies as st

from os_brick_vmthunder import exceptionstore

GIB = 1 << 30
CHUNKS = st.integers(12, 20).map(lambda bits: 1 << bits)


class Kernel:
    """How drivers/md/dm-snap-persistent.c takes chunks of a device."""

    def __init__(self, size, chunk):
        self.device_chunks = size // chunk
        self.per_area = chunk // 16
        self.next_free = 2  # header, first metadata area
        self.committed = 0
        self.area = 0

    def copy_one_chunk(self):
        """Return whether there was room, as the snapshot must not end."""
        if self.device_chunks < self.next_free + 1:
            return False
        self.next_free += 1
        if self.next_free % (self.per_area + 1) == 1:
            self.next_free += 1
        self.committed += 1
        if self.committed == self.per_area:
            self.area += 1
            self.committed = 0
            # zero_disk_area() writes the metadata chunk of the next area
            return 1 + self.area * (self.per_area + 1) < self.device_chunks
        return True


@ddt.ddt
class StoreSizeTest(unittest.TestCase):

    @hypothesis.given(st.sampled_from([4096, 8192, 65536]),
                      st.integers(1, 3000))
    def test_whole_volume_fits(self, chunk, chunks):
        kernel = Kernel(exceptionstore.store_size(chunks * chunk, chunk),
                        chunk)
        self.assertTrue(all(kernel.copy_one_chunk()
                            for _each in range(chunks)))

    @ddt.data(1, 510, 511, 512, 513, 1024)
    def test_one_chunk_less_would_not_do(self, chunks):
        size = exceptionstore.store_size(chunks * 8192, 8192)
        kernel = Kernel(size - 2 * 8192, 8192)
        self.assertFalse(all(kernel.copy_one_chunk()
                             for _each in range(chunks)))

    def test_cost(self):
        # metadata of a terabyte: a few GiB at most, which take no space
        self.assertLess(exceptionstore.store_size(1 << 40, 8192),
                        (1 << 40) * 1.003)

    def test_partial_chunk_counts(self):
        self.assertEqual(exceptionstore.store_size(8192, 8192),
                         exceptionstore.store_size(8191, 8192))


class ExceptionStoreTest(unittest.TestCase):

    def test_known_stores(self):
        # header, one area of 16 chunks, and the next one's metadata
        self.assertEqual((1 + 2 + 16) * 256,
                         exceptionstore.store_size(16 * 256, 256))
        self.assertEqual((1 + 1 + 15) * 256,
                         exceptionstore.store_size(15 * 256 - 1, 256))
        # 1/512 for metadata
        self.assertEqual(GIB + GIB // 512 + 2 * 8192,
                         exceptionstore.store_size(GIB, 8192))

    def test_no_room(self):
        for size in (0, 4096, GIB):
            self.assertEqual(0, exceptionstore.volume_size(size, 4096))

    @hypothesis.given(CHUNKS, st.integers(1, 10000), st.integers(9, 30),
                      st.data())
    def test_store_tells_what_it_was_made_for(self, chunk, gib, extent_bits,
                                              data):
        size = exceptionstore.store_size(gib * GIB, chunk)
        extent = 1 << extent_bits
        store = -(-size // extent) * extent
        self.assertEqual(gib * GIB, exceptionstore.volume_size(store, chunk))
        # nor would any other rounding by less than a GiB mislead
        store = size + data.draw(st.integers(0, GIB - 1))
        self.assertEqual(gib * GIB, exceptionstore.volume_size(store, chunk))
        self.assertEqual((gib - 1) * GIB,
                         exceptionstore.volume_size(size - 1, chunk))

    @hypothesis.given(CHUNKS, st.integers(0, 20 * GIB))
    def test_largest_that_fits(self, chunk, store):
        size = exceptionstore.volume_size(store, chunk)
        if size:
            self.assertLessEqual(exceptionstore.store_size(size, chunk),
                                 store)
        self.assertGreater(exceptionstore.store_size(size + GIB, chunk),
                           store)
