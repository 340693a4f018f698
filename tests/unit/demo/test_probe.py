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
import tempfile
import unittest
from unittest import mock

from demo import probe
from demo import results
from os_brick_vmthunder import connection

TEMPLATE = 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee'
OTHER = 'aaaaaaaa-bbbb-5ccc-8ddd-ffffffffffff'
WWID = connection.wwid(TEMPLATE)


class ProbeTest(unittest.TestCase):
    """Over a /sys made of ordinary files."""

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.sys = pathlib.Path(directory.name)
        (self.sys / 'block').mkdir()
        for name, path in (('_BLOCK', 'block'),
                           ('_SESSIONS', 'class/iscsi_session')):
            patch = mock.patch.object(probe, name, self.sys / path)
            patch.start()
            self.addCleanup(patch.stop)

    def file(self, path, text):
        path = self.sys / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{text}\n')

    def device(self, number, name, uuid, below=()):
        self.file(f'block/dm-{number}/dm/name', name)
        self.file(f'block/dm-{number}/dm/uuid', uuid)
        (self.sys / f'block/dm-{number}/holders').mkdir()
        for device in below:
            self.file(f'block/dm-{number}/slaves/{device}/x', '')
            self.file(f'block/{device}/holders/dm-{number}/x', '')

    def disk(self, name, sectors):
        self.file(f'block/{name}/stat', f'  7 0 {sectors} 1 2 3 4 5 6 7 8')

    def template(self):
        self.disk('sda', 100)
        self.disk('sdb', 20)
        self.disk('sdc', 9999)
        self.device(0, 'template', f'mpath-{WWID}', ('sda', 'sdb'))
        self.device(1, 'diff', 'mpath-other', ('sdc',))

    def test_reads_of_all_paths(self):
        self.template()
        self.assertEqual(results.Reading(120 * 512), probe.read(WWID))

    def test_cache(self):
        self.template()
        for number, (template_id, sectors) in enumerate(
                ((OTHER, 7777), (TEMPLATE, 500)), 2):
            self.device(number, 'b', f'VMTHUNDER-backing-{template_id}')
            self.disk(f'bcache{number}', sectors)
            backing = self.sys / f'block/dm-{number}/bcache'
            backing.mkdir()
            (backing / 'dev').symlink_to(f'../../bcache{number}')
        self.assertEqual(results.Reading(120 * 512, 500 * 512),
                         probe.read(WWID))

    def test_not_attached(self):
        self.assertEqual(results.Reading(), probe.read(WWID))

    def test_leftovers(self):
        self.assertEqual([], probe.leftovers())
        self.template()
        self.file('class/iscsi_session/session3/state', 'LOGGED_IN')
        self.assertEqual({'template', 'diff', 'session3'},
                         set(probe.leftovers()))


class ReadingTest(unittest.TestCase):

    def test_arithmetic(self):
        one, two = results.Reading(5, 13, 1), results.Reading(7, 24, 4)
        self.assertEqual(results.Reading(12, 37, 5), one + two)
        self.assertEqual(results.Reading(2, 11, 3), two - one)
        self.assertEqual((8, 4), (one.hit_bytes, one.again_bytes))
