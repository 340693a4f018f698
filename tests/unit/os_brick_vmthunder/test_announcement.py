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


import json
import unittest

import ddt

from os_brick_vmthunder.announcement import Announcement
from os_brick_vmthunder.announcement import RecordedProfile


@ddt.ddt
class AnnouncementTest(unittest.TestCase):

    def test_survives_json(self):
        said = Announcement('1.1', 3260, '192.0.2.1', 'rack-1',
                            ('dm', 'vmm'))
        connector = json.loads(json.dumps({'vmthunder': said.to_dict()}))
        self.assertEqual(said, Announcement.of(connector))

    def test_profiles_survive_json(self):
        for recorded in (), (RecordedProfile('t1', 'v2 40 0'),
                             RecordedProfile('t2', 'v2 40 1', 'abc')):
            said = Announcement('1.3', profiles=recorded)
            connector = json.loads(json.dumps({'vmthunder': said.to_dict()}))
            self.assertEqual(said, Announcement.of(connector))

    def test_few_profiles_are_listened_to(self):
        said = Announcement('1.3', profiles=9 * (
            RecordedProfile('t1', 'v2 40 0'),))
        self.assertEqual(2, len(Announcement.of(
            {'vmthunder': said.to_dict()}).profiles))

    @ddt.data(None, 'x', {'t1': 'v2 40 0'})
    def test_malformed_profiles_count_as_not_said(self, profiles):
        self.assertIsNone(Announcement.of({'vmthunder': {
            'version': '1.3', 'profiles': profiles}}).profiles)

    @ddt.data('x', {}, {'template_id': 't1'}, {'text': 'v2 40 0'},
              {'template_id': 5, 'text': 'v2 40 0'},
              {'template_id': 't1', 'text': ['v1']})
    def test_malformed_profile_is_left_out(self, malformed):
        good = {'template_id': 't1', 'text': 'v2 40 0', 'replaces': 5}
        self.assertEqual((RecordedProfile('t1', 'v2 40 0'),), Announcement.of(
            {'vmthunder': {'version': '1.3', 'profiles': [malformed, good]}}
        ).profiles)

    @ddt.data(None, {}, {'vmthunder': None}, {'vmthunder': 'yes'})
    def test_says_nothing(self, connector):
        self.assertIsNone(Announcement.of(connector))

    def test_of_the_first_release(self):
        said = Announcement.of({'vmthunder': {'version': '1.0'}})
        self.assertEqual(Announcement('1.0'), said)
        self.assertIsNone(said.portal('192.0.2.1'))
        self.assertEqual(('dm',), said.modes)

    def test_malformed_counts_as_not_said(self):
        said = Announcement.of({'vmthunder': {
            'version': '1.1', 'relay_port': '3260', 'relay_address': 5,
            'zone': '', 'modes': 'vmm'}})
        self.assertEqual(Announcement('1.1'), said)

    @ddt.data((None, '192.0.2.1', '192.0.2.1:3260'),
              (None, '2001:db8::1', '[2001:db8::1]:3260'),
              ('192.0.2.9', '192.0.2.1', '192.0.2.9:3260'),
              ('[2001:db8::9]', None, '[2001:db8::9]:3260'),
              (None, None, None))
    @ddt.unpack
    def test_portal(self, own, connectors, portal):
        said = Announcement('1.1', 3260, own)
        self.assertEqual(portal, said.portal(connectors))
