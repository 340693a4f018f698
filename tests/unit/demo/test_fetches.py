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

import pathlib
import subprocess
import tempfile
import time
import unittest
from unittest import mock

from demo import fetches
from demo import maps
from os_brick_vmthunder import sysfs

WWID = '36001405aaaaaaaabbbb5ccc8dddeeeeeeeeeeee'
UNREAD = '0 0 0 0 0 0 0 0 0 0 0 0 0'
SMALL = f"""\
0+1 2 0 2 858615394690 0 0 0 0 0 40 40 40 0
1+1 {UNREAD}
"""
LARGE = f"""\
131072+8 {UNREAD}
131080+8 3 1 8 429118954000 0 0 0 0 0 10 10 10 0
131088+4 10 0 4 429118954000 0 0 0 0 0 10 10 10 0
"""


class FetchesTest(unittest.TestCase):
    """Over a dmsetup that answers like the kernel."""

    def setUp(self):
        super().setUp()
        self.answers = {}
        patch = mock.patch.object(subprocess, 'run', self.run_command)
        patch.start()
        self.addCleanup(patch.stop)
        self.messages = []
        self.bytes_read = 0
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        patch = mock.patch.object(fetches, '_BASELINE',
                                  pathlib.Path(directory.name, 'x'))
        patch.start()
        self.addCleanup(patch.stop)

    def run_command(self, command, **_):
        self.assertEqual(('dmsetup', 'message', WWID, '0'), command[:4])
        self.messages.append(command[4:])
        return mock.Mock(stdout=self.answers.get(command[4:], ''))

    def map(self, sectors, sequence=1):
        return maps.Map('dm-0', WWID, sectors, sequence)

    def read(self, *counts):
        """Say how much the map was read for, each time that it is asked."""
        return mock.patch.object(sysfs, 'read_bytes', side_effect=counts)

    def watch(self, sectors):
        with self.read(0, 0):
            fetches.watch(self.map(sectors))
        return self.messages

    def test_small_areas_at_the_front(self):
        self.assertEqual([('@stats_create', '0+131072', '1'),
                          ('@stats_create', '131072+2048', '8')],
                         self.watch(131072 + 2048))

    def test_small_template(self):
        self.assertEqual([('@stats_create', '0+4096', '1')],
                         self.watch(4096))

    def test_read_meanwhile(self):
        self.answers = {('@stats_list',): '3: 0+8 1 - -\n'}
        with self.read(1, 2, 2, 2):
            self.assertEqual(2, fetches.watch(self.map(8)))
        create = ('@stats_create', '0+8', '1')
        self.assertEqual([create, ('@stats_list',), ('@stats_delete', '3'),
                          create], self.messages)

    def test_read_all_the_time(self):
        with self.read(*range(100)), \
                self.assertRaisesRegex(RuntimeError, WWID):
            fetches.watch(self.map(8))

    def test_take(self):
        self.answers = {
            ('@stats_list',):
                '0: 0+131072 1 - -\n7: 131072+2048 8 - -\n',
            ('@stats_print_clear', '0'): SMALL,
            ('@stats_print_clear', '7'): LARGE}
        self.assertEqual([(0, 1, 2), (131080, 8, 8), (131088, 4, 4)],
                         fetches.take(self.map(131072 + 2048)))

    def keep_watching(self, *moments):
        """Watch a host.

        :param moments: each a map, or None
        """
        with mock.patch.object(maps, 'find', side_effect=moments), \
                mock.patch.object(sysfs, 'read_bytes',
                                  lambda name: self.bytes_read), \
                mock.patch.object(time, 'sleep'):
            with self.assertRaises(StopIteration):
                fetches.keep_watching()

    def test_each_life_of_a_map_is_watched_once(self):
        first, second = self.map(8, 1), self.map(8, 2)
        self.keep_watching(None, first, None, first, None, second, second)
        self.assertEqual([('@stats_create', '0+8', '1')] * 2, self.messages)

    def test_baseline(self):
        for self.bytes_read in 10, 4:
            self.keep_watching(self.map(8), self.map(8))
            self.assertEqual(self.bytes_read, fetches.baseline())
