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

"""Tests of what storms replay, keep and tell."""

import dataclasses
import pathlib
import tempfile
import time
import unittest
from unittest import mock

import ddt

from tests.bench.storm import contenders
from tests.bench.storm import outcome
from tests.bench.storm import plan
from tests.bench.storm import plots
from tests.bench.storm import replay
from tests.bench.storm import report
from tests.bench.storm import trace

MIB = 1 << 20
EVENTS = """\
7@10.000000:virtio_blk_handle_read vdev 0x1 req 0xa sector 0 nsectors 1
7@10.001000:virtio_blk_rw_complete vdev 0x1 req 0xa ret 0
something else
7@10.003000:virtio_blk_handle_read vdev 0x1 req 0xa sector 2048 nsectors 8
7@10.003500:virtio_blk_handle_write vdev 0x1 req 0xb sector 8 nsectors 8
7@10.004000:virtio_blk_rw_complete vdev 0x1 req 0xb ret 0
7@10.005000:virtio_blk_rw_complete vdev 0x1 req 0xa ret 0
7@10.007000:virtio_blk_handle_read vdev 0x1 req 0xc sector 63 nsectors 64
"""
TRACE = trace.Trace('a guest', 4 * MIB, MIB, (
    trace.Request(False, 0, 512, 0.0),
    trace.Request(False, 65024, 1024, 0.002),
    trace.Request(True, 61440, 8192, 0.001),
    trace.Request(False, 65536 - 4096, 8192, 0.0),
    trace.Request(False, 3 * MIB, 65536, 0.004)))


class TraceTest(unittest.TestCase):

    def test_events(self):
        found = trace.from_events(EVENTS.splitlines())
        self.assertEqual(
            [(False, 0, 512), (False, 2048 * 512, 4096), (True, 4096, 4096),
             (False, 63 * 512, 64 * 512)],
            [(each.write, each.offset, each.length) for each in found])
        # what comes while another is under way has no pause of its own
        for wanted, each in zip((0, 0.002, 0, 0.002), found):
            self.assertAlmostEqual(wanted, each.pause, 5)

    def test_text(self):
        self.assertEqual(TRACE, trace.Trace.from_text(TRACE.to_text()))

    def test_wrong_line(self):
        with self.assertRaisesRegex(ValueError, 'X 1 2 3'):
            trace.Trace.from_text(TRACE.to_text() + 'X 1 2 3\n')

    def test_thinned_keeps_the_pauses(self):
        half = TRACE.thinned(2)
        self.assertEqual([0, 61440, 3 * MIB],
                         [each.offset for each in half.requests])
        self.assertAlmostEqual(TRACE.seconds, half.seconds)
        self.assertEqual(MIB // 2, half.image_size)
        self.assertEqual(TRACE, TRACE.thinned(1))

    def test_recorded(self):
        recorded = trace.load()
        self.assertLess(1000, len(recorded.requests))
        for request in recorded.requests:
            self.assertLessEqual(request.offset + request.length,
                                 recorded.disk_size)
            self.assertLess(request.length, replay._LARGEST - 8192)
        plan.make('seed', recorded)


@ddt.ddt
class ReplayTest(unittest.TestCase):
    """A file in place of a volume."""

    def setUp(self):
        super().setUp()
        # not a tmpfs, which some kernels open for nobody past their cache
        directory = tempfile.TemporaryDirectory(dir=pathlib.Path.cwd())
        self.addCleanup(directory.cleanup)
        self.disk = pathlib.Path(directory.name, 'disk')
        with open(self.disk, 'wb') as file:
            file.truncate(TRACE.disk_size)
            for offset, data in plan.data('seed', TRACE):
                file.seek(offset)
                file.write(data)

    def replay(self, pauses=1.0):
        return replay.run(str(self.disk), plan.make('seed', TRACE, pauses),
                          time.time(), 0.001)

    def test_right(self):
        outcome = self.replay()
        self.assertEqual((), outcome.wrong)
        self.assertEqual(4096 + 8192 + 8192 + 65536,
                         outcome.progress[-1][1])
        self.assertLessEqual(TRACE.seconds, outcome.seconds)
        self.assertLessEqual(outcome.longest, outcome.waited)

    def test_late_pauses(self):
        """A guest computes no longer because others have its processor."""
        now = 0.0

        def sleep(seconds):
            nonlocal now
            now += seconds + (0.3 if seconds else 0.0)

        def look():  # once after each request, and some more
            nonlocal now
            now += 0.2
            return now

        with mock.patch.object(replay, 'time') as clock:
            clock.monotonic = lambda: now
            clock.time = look
            clock.sleep = sleep
            outcome = replay.run(
                str(self.disk), plan.make('seed', TRACE, 1000.0), 0.0, 0.001)
        # it began late, and there is nothing behind the last request
        self.assertAlmostEqual(2 * 0.2 + TRACE.seconds * 1000 + 0.3 + 2 * 0.2,
                               outcome.seconds, 3)

    def test_twice(self):
        """What one guest wrote isn't there for the next."""
        self.assertEqual((), self.replay().wrong)
        self.assertEqual(('wrong bytes at 61440',), self.replay().wrong)

    @ddt.data(0, 4095, 61440, 3 * MIB + 65535)
    def test_a_wrong_byte(self, offset):
        with open(self.disk, 'r+b') as file:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 1]))
        self.assertEqual(1, len(self.replay().wrong))

    def test_a_short_disk(self):
        with open(self.disk, 'r+b') as file:
            file.truncate(3 * MIB)
        self.assertEqual((f'short read at {3 * MIB}',), self.replay().wrong)

    def test_unaligned_write(self):
        odd = trace.Request(True, 512, 512, 0.0)
        with self.assertRaisesRegex(ValueError, 'aligned'):
            plan.make('seed', dataclasses.replace(TRACE, requests=(odd,)))

    def test_working_set(self):
        self.assertEqual(4096 * (1 + 2 + 16), plan.working_set(TRACE))
        self.assertEqual([0, 1, 48], plan.blocks(TRACE))


def storm(contender, hosts, seconds, egress, template=0, wrong=()):
    """Return a storm; amounts in MiB, of all hosts."""
    return outcome.Storm(contender, tuple(
        outcome.Row(f'host-{number}', (), seconds - number / 100, 1.0, 0.5,
                    0.0, template * MIB // hosts, 0, 0, 0, 0,
                    ((0.0, 0), (seconds, 40 * MIB)), wrong)
        for number in range(hosts)), egress * MIB, 1.0, 2.0, 0.5)


def run(*storms):
    return outcome.Run('2000-01-01T00:00:00+00:00', 'a machine',
                       outcome.Scale(), outcome.Boot(
                           'a guest', 10.0, 1000, 40 * MIB, 100 * MIB),
                       2, storms)


class ReportTest(unittest.TestCase):

    def test_json(self):
        found = run(storm('vmthunder', 2, 10.0, 80, wrong=('this',)))
        self.assertEqual(found, outcome.Run.from_json(found.to_json()))

    def test_json_with_what_caches_wrote(self):
        (of_old,) = run(storm('vmthunder', 1, 10.0, 40)).storms
        found = run(dataclasses.replace(of_old, rows=tuple(
            dataclasses.replace(row, written=(30, 1.5))
            for row in of_old.rows)))
        self.assertEqual(found, outcome.Run.from_json(found.to_json()))

    def test_merged(self):
        first, again, other = (storm('vmthunder', 1, 10.0, 40),
                               storm('vmthunder', 1, 11.0, 40),
                               storm('lvm', 4, 20.0, 160))
        merged = outcome.merge([
            dataclasses.replace(run(again), date='2001'), run(first, other)])
        self.assertEqual((again, other), merged.storms)
        self.assertEqual('2000-01-01T00:00:00+00:00', merged.date)

    def test_timeouts_grow_with_pauses_beyond_the_default(self):
        self.assertEqual([1, 1, 4], [outcome.Scale(pauses=pauses).patience
                                     for pauses in (3.0, 6.0, 24.0)])

    def test_merged_of_different_scale(self):
        small = dataclasses.replace(run(), scale=outcome.Scale(memory=180))
        self.assertEqual(180, outcome.merge([run(), small]).scale.memory)
        smaller = dataclasses.replace(run(), scale=outcome.Scale(10.0))
        with self.assertRaisesRegex(ValueError, 'not of the same scale'):
            outcome.merge([run(), smaller])

    def results(self, *storms):
        return {goal.claim: goal.cells()[-1]
                for goal in report.goals(run(*storms))}

    def test_goals_met(self):
        results = self.results(
            storm('vmthunder', 1, 10.0, 41), storm('second-vm', 1, 7.0, 0),
            storm('prefetch', 1, 7.3, 42),
            storm('second-vm-prefetched', 1, 7.0, 0),
            storm('vmthunder', 32, 12.4, 82),
            storm('image-cache', 32, 99.0, 1280))
        beside = {claim: results.pop(claim) for claim in (
            'first VM beside the second, with 1, no prefetch',
            'egress of the storage host with 32, plain iSCSI, in working '
            'sets')}
        self.assertEqual({'told beside'}, set(beside.values()))
        self.assertEqual({'met'}, set(results.values()))
        self.assertEqual(8, len(results))

    def test_goals_missed(self):
        results = self.results(
            storm('vmthunder', 1, 10.0, 80), storm('second-vm', 1, 5.0, 9, 9),
            storm('prefetch', 1, 6.0, 80),
            storm('second-vm-prefetched', 1, 5.0, 9, 9),
            storm('vmthunder', 32, 15.0, 164, wrong=('wrong bytes at 0',)))
        del results['first VM beside the second, with 1, no prefetch']
        self.assertEqual(8, len(results))
        for result in results.values():
            self.assertRegex(result, '^missed ')
        many = results['32 hosts done, no prefetch, beside one alone']
        self.assertRegex(many, '^missed by 20%: the last host waited 1.0 s')

    def test_egress_of_nobody_is_told(self):
        many = dataclasses.replace(storm('vmthunder', 2, 10.0, 164),
                                   idle=0.5 * MIB, counted=12.0)
        (result,) = (text for claim, text in self.results(many).items()
                     if claim.startswith('egress'))
        self.assertIn('nobody reading it would have sent 6.0 MiB', result)

    def test_a_small_run(self):
        """What wasn't run is no goal."""
        self.assertEqual(['met'], list(self.results(
            storm('lvm', 4, 10.0, 160)).values()))

    def test_texts_tell_of_all_contenders(self):
        found = run(*(storm(name, 1, 10.0, 40)
                      for name in contenders.TITLES))
        for text in report.text(found), report.rst(found, 'a'):
            for title in contenders.TITLES.values():
                self.assertIn(title, text)

    def test_plots_of_one_size(self):
        self.assertEqual([4], [what for what, _title in report.plots(
            run(storm('vmthunder', 4, 11.0, 80)))])

    def test_plots(self):
        found = run(storm('vmthunder', 1, 10.0, 40),
                    storm('vmthunder', 4, 11.0, 80),
                    storm('lvm', 4, 20.0, 160))
        with tempfile.TemporaryDirectory() as directory:
            files = plots.write(found, pathlib.Path(directory), 'a')
            self.assertEqual(
                ['a-time.svg', 'a-egress.svg', 'a-1.svg', 'a-4.svg'],
                [file.name for file in files])
            for file in files:
                self.assertIn(f'images/{file.name}\n',
                              report.rst(found, 'a'))
            for file in files:
                self.assertIn('<svg', file.read_text())
