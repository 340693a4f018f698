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

"""Tests of ``vmthunder tree``, from Cinder's answers to what is printed."""

import contextlib
import io
import json
import sys
import unittest
from unittest import mock

import ddt
from keystoneauth1 import exceptions
import openstack
from openstack import exceptions as sdk_exceptions

from os_brick_vmthunder.cmd import cinderapi
from os_brick_vmthunder.cmd import main
from os_brick_vmthunder.cmd import relaytree
from os_brick_vmthunder import membership

TEMPLATE = 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee'
OTHER = 'bbbbbbbb-bbbb-5ccc-8ddd-eeeeeeeeeeee'
IMAGE = 'cccccccc-bbbb-4ccc-8ddd-eeeeeeeeeeee'
SECRET = 'not for anybody'


def attachment(number, *parents, volume=None, status='attached', at=None,
               template=TEMPLATE, **values):
    """Return an attachment as Cinder does."""
    member = membership.Membership(**{
        'id': f'iqn.x:{number}', 'host': f'host{number}',
        'initiator': f'iqn.y:{number}', 'planned_at': f'{at or number:026}',
        'parents': tuple(f'iqn.x:{each}' for each in parents),
        'portal': f'10.0.1.{number}:3261', **values})
    lun = {'auth_password': SECRET, 'auth_username': SECRET}
    return {
        'id': f'attachment{volume or number}', 'status': status,
        'volume_id': volume or f'volume{number}', 'connection_info': {
            'template': {'id': template, 'paths': [
                *({'portal': f'10.0.1.{each}:3261', 'relay': f'host{each}'}
                  for each in parents),
                {'portal': '10.0.0.1:3260', 'relay': None}], **lun},
            'diff': lun, **member.to_dict()}}


STORM = [attachment(1, portal='10.0.1.1:3261', zone='a'), attachment(2),
         attachment(3, 1, 2), attachment(4, 2, 1, portal=None),
         attachment(5, 3)]


class Cloud:
    """Cinder's API, as a keystoneauth adapter gives it."""

    limit = 2

    def __init__(self, attachments, detaching=(), of_image=()):
        self.attachments = attachments
        self.detaching = [{'id': each} for each in detaching]
        self.of_image = [{'id': each} for each in of_image]
        self.error = None

    def get(self, path, params, microversion, raise_exc):
        if self.error:
            raise self.error
        assert params.pop('all_tenants') and microversion == '3.27'
        marker = params.pop('marker', None)
        if path == '/attachments/detail':
            kind, items = 'attachments', self.attachments
        else:
            kind, items = 'volumes', {
                "{'status': 'detaching'}": self.detaching,
                str({'glance_metadata': str({'image_id': IMAGE})}):
                    self.of_image}.get(str(params), [])
        start = 0
        if marker:
            start = [item['id'] for item in items].index(marker) + 1
        return mock.Mock(json=lambda: {
            kind: items[start:start + self.limit]})


@ddt.ddt
class TreeTest(unittest.TestCase):

    def run_it(self, cloud, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(err), \
                mock.patch.object(cinderapi, 'connect',
                                  lambda: cinderapi.Cinder(cloud)):
            status = main.main(['tree', *arguments])
        for text in (out, err):
            self.assertNotIn(SECRET, text.getvalue())
        return status, out.getvalue(), err.getvalue()

    def hosts(self, cloud):
        _status, out, _err = self.run_it(cloud, '--json')
        (tree,) = json.loads(out)
        return {host['name']: host for host in tree['hosts']}

    def test_text(self):
        status, out, _err = self.run_it(Cloud(STORM, ['volume5']))
        self.assertEqual(0, status)
        self.assertEqual([
            f'Template {TEMPLATE}: 5 hosts, depth 3, root 10.0.0.1:3260',
            'HOST       STATE      RELAYS AT      ZONE  SECOND PARENT  '
            'VOLUMES',
            'host1      attached   10.0.1.1:3261  a     -              1',
            '  host3    attached   10.0.1.3:3261  -     host2          1',
            '    host5  detaching  10.0.1.5:3261  -     -              1',
            'host2      attached   10.0.1.2:3261  -     -              1',
            '  host4    attached   -              -     host1          1'],
            out.splitlines())

    def test_json(self):
        status, out, _err = self.run_it(Cloud(STORM), '--json')
        self.assertEqual(0, status)
        (tree,) = json.loads(out)
        self.assertEqual((TEMPLATE, ['10.0.0.1:3260'], 3),
                         (tree['template'], tree['root'], tree['depth']))
        self.assertEqual(
            {'id': 'iqn.x:3', 'name': 'host3', 'state': 'attached',
             'relay': '10.0.1.3:3261', 'zone': None, 'depth': 2,
             'parents': [{'id': 'iqn.x:1', 'name': 'host1'},
                         {'id': 'iqn.x:2', 'name': 'host2'}],
             'volumes': ['volume3'], 'planned_at': f'{3:026}'},
            tree['hosts'][1])

    def test_host_with_two_volumes_is_where_the_newest_says(self):
        hosts = self.hosts(Cloud([
            attachment(1), attachment(2),
            attachment(3, 1, volume='x', at=10),
            attachment(3, 2, volume='y', at=11)]))
        self.assertEqual('host2', hosts['host3']['parents'][0]['name'])
        self.assertEqual(['x', 'y'], hosts['host3']['volumes'])

    def test_detaching_the_newest_of_two(self):
        hosts = self.hosts(Cloud([
            attachment(1), attachment(2, 1, volume='x', at=10),
            attachment(2, volume='y', at=11)], ['y']))
        self.assertEqual(('attached', 2), (hosts['host2']['state'],
                                           hosts['host2']['depth']))

    def test_parents_that_left(self):
        cloud = Cloud([attachment(3, 1, 2), attachment(4, 2, 3)])
        hosts = self.hosts(cloud)
        self.assertEqual([1, 2], [hosts['host3']['depth'],
                                  hosts['host4']['depth']])
        self.assertIsNone(hosts['host4']['parents'][0]['name'])
        self.assertIn('(gone)', self.run_it(cloud)[1])

    def test_circle_is_shown_still(self):
        hosts = self.hosts(Cloud([attachment(1, 2), attachment(2, 1),
                                  attachment(3, 3)]))
        self.assertEqual({'host1': 1, 'host2': 2, 'host3': 1}, {
            name: host['depth'] for name, host in hosts.items()})

    def test_others_attachments(self):
        self.assertEqual({'host1'}, set(self.hosts(Cloud([
            {'id': 'a', 'volume_id': 'v', 'status': 'reserved',
             'connection_info': None},
            {'id': 'b', 'volume_id': 'w', 'status': 'attached',
             'connection_info': {'driver_volume_type': 'iscsi'}},
            attachment(1)]))))

    @ddt.data(TEMPLATE, 'volume3', IMAGE)
    def test_one(self, wanted):
        cloud = Cloud([*STORM, attachment(9, template=OTHER)],
                      of_image=['volume1', 'elsewhere'])
        self.assertEqual(2, self.run_it(cloud)[1].count('Template'))
        out = self.run_it(cloud, wanted)[1]
        self.assertEqual(1, out.count('Template'))
        self.assertIn(TEMPLATE, out)

    def test_unknown(self):
        status, out, err = self.run_it(Cloud(STORM), IMAGE)
        self.assertEqual((1, ''), (status, out))
        self.assertIn(IMAGE, err)

    def test_nobody(self):
        status, out, _err = self.run_it(Cloud([]))
        self.assertEqual((0, 'No host reads a template.\n'), (status, out))
        self.assertEqual('[]\n', self.run_it(Cloud([]), '--json')[1])

    @ddt.data(exceptions.Unauthorized('who?'),
              exceptions.ConnectFailure('who?'), ValueError('who?'))
    def test_cinder_fails(self, error):
        cloud = Cloud([])
        cloud.error = error
        status, _out, err = self.run_it(cloud)
        self.assertEqual(1, status)
        self.assertIn('who?', err)

    def test_ten_thousand(self):
        hosts = [attachment(number, *([number // 2] if number > 1 else []))
                 for number in range(1, 10001)]
        (tree,) = relaytree.trees(hosts, ())
        self.assertEqual((10000, 14), (len(tree.hosts), tree.depth))
        self.assertEqual(10002, len(tree.to_text().splitlines()))


class ConnectTest(unittest.TestCase):

    def assertTold(self, *words):
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(1, main.main(['tree']))
        for word in words:
            self.assertIn(word, err.getvalue())

    def test_no_openstacksdk(self):
        with mock.patch.dict(sys.modules, openstack=None):
            self.assertTold('openstacksdk', 'install it')

    def test_nothing_says_which_cloud(self):
        with mock.patch.object(
                openstack, 'connect',
                side_effect=sdk_exceptions.ConfigException('no cloud.')):
            self.assertTold('no cloud. Set OS_CLOUD')
