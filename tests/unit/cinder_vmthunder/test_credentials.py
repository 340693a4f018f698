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

"""Tests of templates' credentials."""

import unittest

from cinder_vmthunder import credentials
from tests.unit.cinder_vmthunder import fakes


class CredentialsTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.db = fakes.Database()
        self.credentials = credentials.Credentials(self.db)

    def test_same_for_every_process(self):
        first = self.credentials.get('one')
        self.assertEqual(first, credentials.Credentials(self.db).get('one'))
        self.assertGreaterEqual(len(first.password), 12)

    def test_different_for_every_template(self):
        self.assertNotEqual(self.credentials.get('one'),
                            self.credentials.get('other'))

    def test_who_comes_second_takes_the_firsts(self):
        reads = []
        read = self.db.driver_initiator_data_get

        def overtaken(*args):
            if not reads:
                reads.append(True)
                reads.append(credentials.Credentials(self.db).get('one'))
                return []
            return read(*args)

        self.db.driver_initiator_data_get = overtaken
        self.assertEqual(self.credentials.get('one'), reads[1])

    def test_not_in_a_representation(self):
        chap = self.credentials.get('one')
        self.assertNotIn(chap.password, repr(chap))

    def test_other_data_of_the_initiator(self):
        self.db.secrets['vmthunder', 'template:one'] = {'else': 'x'}
        self.assertTrue(self.credentials.get('one').password)
