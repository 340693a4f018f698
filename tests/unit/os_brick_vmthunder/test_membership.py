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

from os_brick_vmthunder import membership

MEMBER = membership.Membership(
    'iqn.x:1', 'host', 'iqn.y', '2026-11-21T12:00:00.000000',
    ('iqn.x:2', 'iqn.x:3'), '10.0.0.1:3261', 'zone')


@ddt.ddt
class MembershipTest(unittest.TestCase):

    @ddt.data(None, 1, (',', ':'))
    def test_is_read_however_it_is_formatted(self, style):
        info = {'version': '1.1', 'x': {'y': [{}]}, **MEMBER.to_dict(),
                'z': '"member": {'}
        text = json.dumps(info, **(
            {'separators': style} if isinstance(style, tuple)
            else {'indent': style}))
        self.assertEqual(MEMBER, membership.Membership.read(text))
        self.assertEqual(MEMBER, membership.Membership.of(json.loads(text)))

    @ddt.data('', '{', '{}', '[]', 'null', '{"member": 5}', '{"member": {}}',
              '{"member": {"id": "x"}}', '{"member": {"id": ')
    def test_not_recorded(self, text):
        self.assertIsNone(membership.Membership.read(text))

    @ddt.data(None, {}, [], {'member': None}, {'member': {'parents': 5}})
    def test_nothing(self, info):
        self.assertIsNone(membership.Membership.of(info))
