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

"""Tests of how costs are counted."""

import contextlib
import subprocess
import threading
import time
import types
import unittest

from oslo_concurrency import lockutils

from tests.bench import cost


class CostTest(unittest.TestCase):

    def test_commands_and_forks(self):
        spent = cost.of(subprocess.run, ['true', 'word'])
        subprocess.run(['false'])
        self.assertEqual(('true word',), spent.commands)
        self.assertEqual(1, spent.command_count)
        self.assertGreaterEqual(spent.forks, 1)

    def test_time_and_processor(self):
        def work():
            end = time.process_time() + 0.1
            while time.process_time() < end:
                pass

        spent = cost.of(work)
        self.assertGreaterEqual(spent.seconds, 0.1)
        # told in ticks of 10 ms
        self.assertGreaterEqual(spent.processor, 0.05)

    def test_waiting_for_locks(self):
        entered = threading.Event()

        def hold():
            with lockutils.lock('bench-test'):
                entered.set()
                time.sleep(0.2)

        def wait():
            with lockutils.lock('bench-test'):
                pass

        holder = threading.Thread(target=hold)
        holder.start()
        entered.wait()
        spent = cost.of(wait)
        holder.join()
        ((name, _seconds),) = spent.waited
        self.assertEqual('bench-test', name)
        self.assertGreater(spent.lock_seconds, 0)

    def test_other_locks(self):
        @contextlib.contextmanager
        def lock(name):
            yield name

        module = types.SimpleNamespace(lock=lock)

        def use():
            with module.lock('of another kind') as held:
                self.assertEqual('of another kind', held)

        spent = cost.of(use, locks=((module, 'lock'),))
        self.assertEqual(['of another kind'],
                         [name for name, _seconds in spent.waited])
        self.assertIs(lock, module.lock)

    def test_figures(self):
        one = cost.Cost(2.0, 1.0, 5, ('a', 'b'), (('x', 0.5), ('y', 0.5)))
        other = cost.Cost(1.0, 1.0, 10, ('a',), ())
        found = cost.figures('it', [one], [other])
        self.assertEqual([2.0, 1.0, 5.0, 2.0, 1.0],
                         [figure.ours[0] for figure in found])
        self.assertEqual([2.0, 1.0, 0.5, 2.0, None],
                         [figure.ratio for figure in found])
