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

import os
import pathlib
import re
import types
import unittest

from os_brick_vmthunder.caches import coalescing
from tests.unit.os_brick_vmthunder import fake_kernel

KIB = 1 << 10
MIB = fake_kernel.MIB
RULES = pathlib.Path(__file__).parents[4] / (
    'etc/udev/rules.d/56-vmthunder.rules')
ONE = '6a1b0c3e-0000-4000-8000-000000000001'


class AheadTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.kernel = fake_kernel.FakeKernel(self)
        self.kernel.patch(self, coalescing, '_LOOPS', 2)
        self.kernel.add_disk('sdx', 32 * MIB)
        coalescing.assemble(ONE, '/dev/sdx', 32 * MIB)
        self.missed = 0
        self.miss(0)
        self.told = []
        self.closed = []
        self.kernel.patch(self, coalescing, 'os', types.SimpleNamespace(
            path=os.path, O_RDONLY=os.O_RDONLY,
            POSIX_FADV_WILLNEED=os.POSIX_FADV_WILLNEED,
            open=lambda path, flags: path, close=self.closed.append,
            posix_fadvise=lambda *arguments: self.told.append(arguments)))
        self.ahead = coalescing.ahead(ONE)

    def miss(self, length):
        """Have the cache ask its source for something."""
        self.missed += length
        kernel = coalescing.dm.find(coalescing._name(ONE)).kernel
        self.kernel.write(f'9 0 {self.missed // 512} 8 0 0 0 0 0 7 7',
                          'block', kernel, 'stat')

    def read(self, offset, length, missed):
        with self.ahead.of(offset, length):
            self.miss(missed)
        told, self.told = self.told, []
        return [(offset, length) for _file, offset, length, _ in told]

    def test_as_long_as_the_cache_lacks_it(self):
        self.assertEqual([], self.read(0, MIB, MIB))
        self.assertEqual([(MIB, 64 * KIB)],
                         self.read(MIB, 64 * KIB, 33 * KIB))
        # what it turns out to have was read for nothing, but no more
        self.assertEqual([(2 * MIB, 64 * KIB)],
                         self.read(2 * MIB, 64 * KIB, 32 * KIB))
        self.assertEqual([], self.read(3 * MIB, 64 * KIB, 0))
        self.assertEqual(['/dev/vmthunder/' + ONE] * 2, self.closed)

    def test_no_more_at_once_than_the_kernel_takes(self):
        self.read(0, MIB, MIB)
        self.assertEqual(
            [(MIB, 128 * KIB), (MIB + 128 * KIB, 128 * KIB),
             (MIB + 256 * KIB, 4 * KIB)],
            self.read(MIB, 260 * KIB, 260 * KIB))

    def test_udev_lets_it_pass_at_once(self):
        limit = re.search(r'ATTR{queue/max_sectors_kb}="(\d+)"',
                          RULES.read_text())
        self.assertEqual(coalescing._AHEAD, int(limit[1]) * KIB)

    def test_cache_that_reads_the_source_itself(self):
        """As one that was put on the template by another layer."""
        coalescing.dm.remove(coalescing._name(ONE))
        with coalescing.ahead(ONE).of(0, MIB):
            pass
        with coalescing.ahead(ONE).of(MIB, MIB):
            pass
        self.assertEqual([], self.told)
