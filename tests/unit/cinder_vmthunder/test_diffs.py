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

"""Tests of diffs."""

import unittest
from unittest import mock

import ddt
import hypothesis
from hypothesis import strategies

from cinder_vmthunder import diffs
from cinder_vmthunder import exception
from cinder_vmthunder import volumegroup
from tests.unit.cinder_vmthunder import fakes

TEMPLATE = 'cccccccc-0000-4000-8000-00000000000c'


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

    @hypothesis.given(strategies.sampled_from([4096, 8192, 65536]),
                      strategies.integers(1, 3000))
    @hypothesis.settings(deadline=None)
    def test_whole_volume_fits(self, chunk, chunks):
        kernel = Kernel(diffs.store_size(chunks * chunk, chunk), chunk)
        self.assertTrue(all(kernel.copy_one_chunk()
                            for _each in range(chunks)))

    @ddt.data(1, 510, 511, 512, 513, 1024)
    def test_one_chunk_less_would_not_do(self, chunks):
        size = diffs.store_size(chunks * 8192, 8192)
        kernel = Kernel(size - 2 * 8192, 8192)
        self.assertFalse(all(kernel.copy_one_chunk()
                             for _each in range(chunks)))

    def test_cost(self):
        # metadata of a terabyte: a few GiB at most, which take no space
        self.assertLess(diffs.store_size(1 << 40, 8192), (1 << 40) * 1.003)

    def test_partial_chunk_counts(self):
        self.assertEqual(diffs.store_size(8192, 8192),
                         diffs.store_size(8191, 8192))


class DiffsTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.lvm = fakes.LVM()
        self.group = volumegroup.VolumeGroup('vg', self.lvm)
        self.diffs = diffs.Diffs(self.group)

    def create(self):
        return self.diffs.create('volume-1', 2 << 30, TEMPLATE, 1 << 30, 16)

    def test_create_and_get(self):
        diff = self.create()
        self.assertEqual(
            diffs.Diff('volume-1', TEMPLATE, 1 << 30, 16), diff)
        self.assertEqual(diff, self.diffs.get('volume-1'))
        size = self.lvm.volumes['volume-1'][0]
        self.assertEqual(0, size % fakes.EXTENT)
        self.assertGreaterEqual(size, diffs.store_size(2 << 30, 8192))

    def test_what_was_cut_is_made_again(self):
        self.create()
        self.lvm.volumes['volume-1'][0] = fakes.EXTENT
        self.create()
        self.assertLess(2 << 30, self.lvm.volumes['volume-1'][0])

    def test_a_plain_volume_is_not_overwritten(self):
        self.group.create('volume-1', fakes.EXTENT, {})
        self.assertRaises(exception.VolumeGroupFailed, self.create)
        self.assertEqual(fakes.EXTENT, self.lvm.volumes['volume-1'][0])

    def test_plain_and_missing(self):
        self.group.create('volume-2', fakes.EXTENT, {})
        self.assertIsNone(self.diffs.get('volume-2'))
        self.assertIsNone(self.diffs.get('volume-1'))

    def test_clear_zeroes_the_first_chunk(self):
        with mock.patch.object(diffs, 'blockdev') as blockdev:
            self.diffs.clear(self.create())
        blockdev.zero.assert_called_once_with('/dev/vg/volume-1', 8192)

    def test_delete(self):
        self.diffs.delete(self.create())
        self.assertEqual({}, self.lvm.volumes)
