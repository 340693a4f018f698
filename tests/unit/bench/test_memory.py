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

"""Tests of the stores that are written for a benchmark."""

import os
import struct
import tempfile
import unittest
from unittest import mock

import ddt

from os_brick_vmthunder import exceptionstore
from tests.bench import memory

CHUNK = 8192
EXCEPTIONS = CHUNK // 16


@ddt.ddt
class StoreTest(unittest.TestCase):

    def fill(self, size, ordered):
        """Return the exceptions that the kernel would find."""
        with tempfile.TemporaryFile() as file, \
                mock.patch.object(memory, '_SIZE', size):
            memory._fill(file.fileno(), CHUNK, ordered)
            file.truncate(exceptionstore.store_size(size, CHUNK))
            self.assertEqual((0x70416e53, 1, 1, 16),
                             struct.unpack('<IIII', os.pread(
                                 file.fileno(), 16, 0)))
            found, area = [], 1
            while True:
                data = os.pread(file.fileno(), CHUNK, area * CHUNK)
                self.assertEqual(CHUNK, len(data))
                pairs = [pair for pair in struct.iter_unpack('<QQ', data)
                         if pair[1]]
                found += pairs
                if len(pairs) < EXCEPTIONS:  # the kernel looks no further
                    return found
                area += EXCEPTIONS + 1

    @ddt.data(1, 3 * EXCEPTIONS, 3 * EXCEPTIONS + 7)
    def test_every_chunk_has_a_place(self, chunks):
        for ordered in (True, False):
            pairs = self.fill(chunks * CHUNK, ordered)
            olds, news = zip(*pairs)
            self.assertEqual(list(range(chunks)), sorted(olds))
            if chunks > 1:
                self.assertEqual(ordered, list(olds) == sorted(olds))
            self.assertEqual(chunks, len(set(news)))
            # neither the header nor where exceptions are
            self.assertGreater(min(news), 1)
            self.assertFalse([new for new in news
                              if new % (EXCEPTIONS + 1) == 1])
            self.assertLess(max(news), exceptionstore.store_size(
                chunks * CHUNK, CHUNK) // CHUNK)
