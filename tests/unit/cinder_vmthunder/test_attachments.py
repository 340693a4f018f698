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

import datetime
import json
import unittest

import ddt
import sqlalchemy as sa

from tests.unit.cinder_vmthunder import database
from tests.unit.cinder_vmthunder import fakes

from cinder.db import api as db_api

from cinder_vmthunder import attachments

TEMPLATE = 'cccccccc-0000-5000-8000-00000000000c'
MEMBER: dict = {'id': 'iqn.x:1', 'host': 'h', 'initiator': 'iqn.y',
                'parents': [], 'planned_at': '2026', 'portal': None,
                'zone': None}
MINE, OTHER = ({'initiator': f'iqn.1993-08.org.debian:{name}'}
               for name in ('Mine', 'other'))


class AttachmentsTestCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        database.set_up(self)
        self.attachments = attachments.Attachments(db_api)
        self.volume = database.volume(fakes.VOLUME)
        self.minutes = iter(range(99))

    def add(self, volume_id=fakes.VOLUME, **values):
        if 'connector' in values:
            values['connector'] = json.dumps(values['connector'])
        return database.reserve(volume_id, created_at=datetime.datetime(
            2026, 11, 21, 0, next(self.minutes)), **values)


class FindTest(AttachmentsTestCase):

    def assertFound(self, attachment_id):
        found = self.attachments.find(
            self.volume, {'initiator': MINE['initiator'].lower()})
        self.assertEqual(attachment_id, found and found.id)

    def test_none(self):
        self.assertFound(None)

    def test_somebody_elses(self):
        self.add(connector=OTHER)
        self.add(deleted=True)
        self.assertFound(None)

    def test_nobodys(self):
        attachment_id = self.add()
        self.add(connector=OTHER)
        self.assertFound(attachment_id)

    def test_own(self):
        attachment_id = self.add(connector=MINE)
        self.add(connector=OTHER)
        self.assertFound(attachment_id)

    def test_nobodys_comes_before_own(self):
        attachment_id = self.add()
        self.add(connector=MINE)
        self.assertFound(attachment_id)

    def test_newest_of_nobodys(self):
        self.add()
        self.assertFound(self.add())


class LeftByServerTest(AttachmentsTestCase):

    def assertLeft(self, initiator):
        self.assertEqual(initiator, self.attachments.left_by_server(
            self.volume, {'initiator': MINE['initiator'].lower()}))

    def test_found(self):
        self.assertLeft(None)
        self.add(connector=OTHER, instance_uuid='a')
        self.assertLeft(None)  # nothing to go to
        self.add(instance_uuid='a')
        self.assertLeft(OTHER['initiator'])
        # already told
        self.add(connector=MINE, instance_uuid='a')
        self.assertLeft(OTHER['initiator'])

    def test_another_servers(self):
        self.add(connector=OTHER, instance_uuid='a')
        self.add(instance_uuid='b')
        self.assertLeft(None)

    def test_nobody_knows_whose(self):
        self.add(connector=OTHER)
        self.add()
        self.assertLeft(None)

    def test_more_than_one(self):
        self.add(connector=OTHER, instance_uuid='a')
        self.add(connector={'initiator': 'iqn.third'}, instance_uuid='a')
        self.add(instance_uuid='a')
        self.assertLeft(None)


@ddt.ddt
class OfTemplateTest(AttachmentsTestCase):

    def find(self):
        return self.attachments.of_template(self.volume, TEMPLATE)

    def told(self, **values):
        return self.add(**{
            'attach_status': 'attached', 'connection_info': json.dumps(
                {'template': {'id': TEMPLATE}, 'member': MEMBER,
                 'diff': {'paths': [{'iqn': 'iqn.z'}]}}), **values})

    def test_found(self):
        self.told()
        (record,) = self.find()
        self.assertEqual(('h', 'iqn.z', False), (
            record.member.host, record.diff_iqn, record.is_leaving))

    @ddt.data({'deleted': True}, {'connection_info': None},
              {'connection_info': '{"member": {}}'},
              {'connection_info': json.dumps({'template': TEMPLATE})})
    def test_not_a_member(self, values):
        self.told(**values)
        self.assertEqual([], self.find())

    @ddt.data(('host@backend#pool', 1), ('host@backend', 1),
              ('host@backend#other', 1), ('host@backend2#pool', 0),
              ('other@backend#pool', 0), ('hostXbackend#pool', 0))
    @ddt.unpack
    def test_backend(self, host, expected):
        database.volume(fakes.OTHER, host=host)
        self.told(volume_id=fakes.OTHER)
        self.assertEqual(expected, len(self.find()))

    def test_cluster(self):
        for volume_id, host in ((fakes.OTHER, 'a@b#c'),
                                (fakes.OTHER[:-1] + 'c', 'd@b#c')):
            self.volume = database.volume(volume_id, host=host,
                                          cluster_name='cluster@b#c')
            self.told(volume_id=volume_id)
        self.assertEqual(2, len(self.find()))

    @ddt.data(('attaching', 'in-use', False), ('attached', 'in-use', False),
              ('attached', 'detaching', True), ('reserved', 'in-use', True),
              ('error_attaching', 'in-use', True), (None, 'in-use', True))
    @ddt.unpack
    def test_leaving(self, status, volume_status, expected):
        self.told(attach_status=status)
        db_api.volume_update(database.admin(), fakes.VOLUME,
                             {'status': volume_status})
        self.assertIs(expected, self.find()[0].is_leaving)

    def test_one_narrow_query(self):
        for _ in range(3):
            self.told()
        statements = []
        engine = db_api.main_context_manager.reader.get_engine()
        sa.event.listen(engine, 'before_cursor_execute',
                        lambda *arguments: statements.append(arguments[2]))
        self.assertEqual(3, len(self.find()))
        statement, = (each for each in statements if each != 'BEGIN')
        self.assertEqual(3, statement.partition(' FROM ')[0].count(',') + 1)


@ddt.ddt
class BusyVolumesTest(AttachmentsTestCase):

    @ddt.data(('uploading', MINE, 1), ('extending', MINE, 1),
              ('in-use', MINE, 0), ('reserved', None, 0))
    @ddt.unpack
    def test_attached_and_busy(self, status, connector, count):
        self.volume.update({'status': status})
        self.volume.save()
        self.add(**({'connector': connector} if connector else {}))
        elsewhere = database.volume(fakes.OTHER, host='other@backend#pool',
                                    status='uploading')
        self.add(elsewhere.id, connector=MINE)
        found = self.attachments.of_busy_volumes('host@backend', None)
        self.assertEqual([fakes.VOLUME] * count,
                         [volume.id for volume in found])
        self.assertTrue(all(volume.volume_attachment for volume in found))

    def test_cluster(self):
        database.volume(fakes.OTHER, status='uploading',
                        cluster_name='cluster@backend#pool')
        self.add(fakes.OTHER, connector=MINE)
        (found,) = self.attachments.of_busy_volumes('x', 'cluster@backend')
        self.assertEqual(fakes.OTHER, found.id)
