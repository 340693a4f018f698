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

import threading
import unittest

from demo import scenario


class TogetherTest(unittest.TestCase):

    def test_order(self):
        second_ran = threading.Event()

        def first():
            self.assertTrue(second_ran.wait(10))
            return 1

        def second():
            second_ran.set()
            return 2

        self.assertEqual([1, 2], scenario.together(first, second))

    def test_failure_comes_at_once(self):
        never = threading.Event()
        self.addCleanup(never.set)

        def fail():
            raise KeyError('x')

        with self.assertRaises(KeyError):
            scenario.together(lambda: never.wait(60), fail)


class PlanTest(unittest.TestCase):

    def test_every_volume_moves(self):
        def where(plan):
            return {volume: host for host, volumes in plan.items()
                    for volume in volumes}
        first, second = where(scenario.FIRST), where(scenario.SECOND)
        self.assertEqual(set(scenario.VOLUMES), set(first))
        self.assertEqual(set(scenario.VOLUMES), set(second))
        for volume in scenario.VOLUMES:
            self.assertNotEqual(first[volume], second[volume])
