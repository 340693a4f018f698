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

from demo import results


class ReadingTest(unittest.TestCase):

    def test_sum(self):
        self.assertEqual(
            results.Reading(12, 37, 5),
            results.Reading(5, 13, 1) + results.Reading(7, 24, 4))

    def test_difference(self):
        self.assertEqual(
            results.Reading(5, 13, 1),
            results.Reading(12, 37, 5) - results.Reading(7, 24, 4))

    def test_derived(self):
        reading = results.Reading(12, 37, 5)
        self.assertEqual((25, 7), (reading.hit_bytes, reading.again_bytes))
