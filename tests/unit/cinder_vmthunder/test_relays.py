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

"""Tests of relays as Cinder's API, manager and database see them."""

from concurrent import futures
import datetime
import tempfile
from unittest import mock
import uuid

import ddt
from oslo_utils import timeutils

from tests.unit.cinder_vmthunder import database
from tests.unit.cinder_vmthunder import fakes
from tests.unit.cinder_vmthunder import test_driver

from cinder.db import api as db_api

from cinder_vmthunder import exception
from os_brick_vmthunder import connection
from os_brick_vmthunder import membership


def connector(number, port=3261, version='1.1', zone=None, **values):
    return fakes.connector(
        f'c{number}', ip=f'10.0.1.{number}',
        vmthunder={'version': version, 'relay_port': port, 'zone': zone},
        **values)


class RelaysTestCase(test_driver.DriverTestCase):

    def setUp(self):
        super().setUp()
        database.set_up(self)
        self.now = datetime.datetime(2026, 11, 21, 12)
        self.addCleanup(timeutils.clear_time_override)
        self.pass_time(0)
        self.db = db_api
        self.patch('cinder.volume.targets.driver.db', db_api)
        self.driver = self.make()
        self.cinder = database.Cinder(lambda: self.driver)

    def make(self, **values):
        return super().make(**{
            'vmthunder_relay_networks': ['10.0.1.0/24'],
            'vmthunder_root_fan_out': 1, 'vmthunder_relay_fan_out': 2,
            'vmthunder_relay_grace': 60, **values})

    def pass_time(self, seconds):
        self.now += datetime.timedelta(seconds=seconds)
        timeutils.set_time_override(self.now)

    def reserve(self, volume_id=None, host=database.HOST):
        """Make a volume and an attachment of it; return the latter's id."""
        volume = database.volume(volume_id or str(uuid.uuid4()), host=host)
        self.create(fakes.Volume(volume.id))
        return database.reserve(volume.id)

    def attach(self, connector, attachment_id=None):
        """Attach a volume; return the contract."""
        attachment_id = attachment_id or self.reserve()
        row = database.attachment(attachment_id)
        info = self.cinder.attach(row.volume_id, attachment_id, connector)
        return connection.Connection.from_dict(info)

    def attach_all(self, *numbers):
        return {number: self.attach(connector(number)) for number in numbers}

    def log_in(self, *numbers):
        """Have hosts log in to all they may, and the others log out."""
        names = {connector(number)['initiator'] for number in numbers}
        self.lio.logged_in_to = {iqn: set(acls) & names
                                 for iqn, acls in self.lio.acls.items()}

    def assertParents(self, expected, contract):
        self.assertEqual([f'c{number}' for number in expected],
                         [path.relay for path in contract.template.parents])
        self.assertIsNone(contract.template.paths[-1].relay)

    def the_attachment(self, contract):
        (row,) = db_api.volume_attachment_get_all_by_volume_id(
            database.admin(), contract.volume_id)
        return row


@ddt.ddt
class TreeTest(RelaysTestCase):

    def test_first_host_reads_from_the_root_and_relays(self):
        contract = self.attach(connector(1))
        self.assertParents([], contract)
        self.assertEqual(2, len(contract.template.paths))
        export = contract.template.export
        self.assertEqual('10.0.1.1:3261', export.portal)
        self.assertTrue(export.iqn.startswith(
            contract.template.paths[0].iqn + ':'))

    def test_chain(self):
        contracts = self.attach_all(1, 2, 3)
        self.assertParents([1], contracts[2])
        self.assertParents([1], contracts[3])
        path = contracts[2].template.paths[0]
        export = contracts[1].template.export
        self.assertEqual((export.portal, export.iqn, 0),
                         (path.portal, path.iqn, path.lun))
        self.assertEqual(3, len({contract.template.export.iqn
                                 for contract in contracts.values()}))
        self.assertEqual(contracts[1].template.chap,
                         contracts[3].template.chap)

    def test_restart_in_the_middle(self):
        self.attach_all(1, 2)
        self.driver = self.make()
        self.assertParents([1], self.attach(connector(3)))
        self.assertParents([2, 3], self.attach(connector(4)))

    def test_others_know_before_the_driver_has_returned(self):
        """The next process plans before the manager has stored anything."""
        self.attach(connector(1))
        with mock.patch.object(database.db_api, 'volume_attached',
                               side_effect=KeyboardInterrupt):
            with self.assertRaises(KeyboardInterrupt):
                self.attach(connector(2))
        self.assertParents([1], self.attach(connector(3)))
        self.assertParents([2, 3], self.attach(connector(4)))

    def test_two_processes_at_once(self):
        database.set_up(self, self.stack.enter_context(
            tempfile.TemporaryDirectory()))
        contracts = [self.attach(connector(1))]
        volumes = {number: database.attachment(self.reserve()).volume
                   for number in range(2, 16)}
        numbers = iter(volumes)

        def work(driver):
            # as far as the driver goes, before the manager stores anything
            for number in numbers:
                volume, host = volumes[number], connector(number)
                volume.update(driver.create_export(database.admin(), volume,
                                                   host))
                yield connection.Connection.from_dict(
                    driver.initialize_connection(volume, host)['data'])

        with futures.ThreadPoolExecutor() as pool:
            done = [pool.submit(list, work(driver))
                    for driver in (self.driver, self.make())]
        contracts += [contract for each in done
                      for contract in each.result()]
        firsts = [path.relay for contract in contracts
                  for path in contract.template.parents[:1]]
        # one at the root, and below it a full binary tree of 14
        self.assertEqual(15, len(contracts))
        self.assertEqual([2] * 7, [firsts.count(host)
                                   for host in set(firsts)])

    def test_second_volume_of_a_host_keeps_its_parents(self):
        contracts = self.attach_all(1, 2, 3, 4)
        again = self.attach(connector(4))
        self.assertEqual(contracts[4].template, again.template)
        # and it is one member with one slot
        self.assertParents([3, 2], self.attach(connector(5)))

    def test_same_attachment_again(self):
        first = self.attach(connector(1))
        attachment_id = self.the_attachment(first).id
        self.assertEqual(first, self.attach(connector(1), attachment_id))

    def test_zone(self):
        self.attach(connector(1, zone='a'))
        self.attach(connector(2, zone='a'))
        self.attach(connector(3, zone='b'))
        self.assertParents([3, 2], self.attach(connector(4, zone='b')))

    def test_other_template_and_backend_are_other_trees(self):
        self.attach(connector(1))
        foreign = self.attach(connector(2), self.reserve(host='h@b#p'))
        self.assertParents([], foreign)
        image = 'ffffffff-0000-4000-8000-00000000000f'
        volume = database.volume(str(uuid.uuid4()))
        self.create(fakes.Volume(volume.id), id=image)
        self.assertParents([], self.attach(
            connector(3), database.reserve(volume.id)))

    @ddt.data(('10.0.1.0/24',), ('10.0.0.0/8', 'fd00::/64'))
    def test_allowed(self, networks):
        self.driver = self.make(vmthunder_relay_networks=networks)
        self.assertIsNotNone(self.attach(connector(1)).template.export)

    @ddt.data(
        {'version': '1.1', 'relay_port': 3261, 'relay_address': '10.9.0.1'},
        {'version': '1.1', 'relay_port': 3261, 'relay_address': 'evil.test'},
        {'version': '1.1', 'relay_port': 3261, 'relay_address': 'fd00::1'},
        {'version': '1.1', 'relay_port': None})
    def test_host_that_only_reads(self, vmthunder):
        self.attach(connector(1))
        contract = self.attach(connector(2, vmthunder2=0) |
                               {'vmthunder': vmthunder})
        self.assertParents([1], contract)
        self.assertIsNone(contract.template.export)
        self.attach(connector(3))
        self.assertParents([3], self.attach(connector(4)))

    @ddt.data('1.0', '2.0', 'x')
    def test_host_that_knows_no_relays(self, version):
        self.attach(connector(1))
        contract = self.attach(connector(2, version=version))
        self.assertParents([], contract)
        self.assertIsNone(contract.template.export)

    def test_relays_off(self):
        self.driver = self.make(vmthunder_relay_networks=[])
        for contract in self.attach_all(1, 2).values():
            self.assertParents([], contract)
            self.assertIsNone(contract.template.export)

    def test_host_without_a_proper_name(self):
        self.attach(connector(1) | {'host': 'a name'})
        contract = self.attach(connector(2))
        self.assertEqual(connector(1)['initiator'],
                         contract.template.parents[0].relay)


@ddt.ddt
class LeavingTest(RelaysTestCase):

    def test_detached_host_leaves_no_record(self):
        self.cinder.detach(self.the_attachment(self.attach(
            connector(1))).id)
        self.assertParents([], self.attach(connector(2)))

    def test_host_that_is_detaching_gets_no_children(self):
        contracts = self.attach_all(1)
        db_api.volume_update(database.admin(), contracts[1].volume_id,
                             {'status': 'detaching'})
        self.assertParents([], self.attach(connector(2)))

    @ddt.data('error_attaching', 'error_detaching')
    def test_host_in_error(self, status):
        row = self.the_attachment(self.attach(connector(1)))
        db_api.volume_attachment_update(database.admin(), row.id,
                                        {'attach_status': status})
        self.assertParents([], self.attach(connector(2)))

    def test_host_that_detaches_one_of_two_volumes_stays(self):
        self.attach(connector(1))
        second = self.attach(connector(1))
        db_api.volume_update(database.admin(), second.volume_id,
                             {'status': 'detaching'})
        self.assertParents([1], self.attach(connector(2)))

    def test_access_is_gone_before_the_record(self):
        """Between terminate_connection() and the end of the attachment."""
        row = self.the_attachment(self.attach(connector(1)))
        volume = database.attachment(row.id).volume
        self.driver.terminate_connection(volume, connector(1))
        self.assertParents([], self.attach(connector(2)))


class DyingTest(RelaysTestCase):

    def test_host_on_its_way_is_a_parent(self):
        self.attach(connector(1))
        self.pass_time(59)
        self.assertParents([1], self.attach(connector(2)))

    def test_host_that_never_came(self):
        self.attach(connector(1))
        self.pass_time(61)
        self.assertParents([], self.attach(connector(2)))

    def test_host_that_is_there(self):
        self.attach(connector(1))
        self.log_in(1)
        self.pass_time(1000)
        self.assertParents([1], self.attach(connector(2)))

    def test_dead_host_returns(self):
        self.attach_all(1, 2, 3)
        self.log_in(1, 3)
        self.pass_time(61)
        self.assertParents([3], self.attach(connector(4)))
        self.log_in(1, 2, 3, 4)
        self.assertParents([2, 3], self.attach(connector(5)))

    def test_one_of_two_sessions_is_enough(self):
        self.attach_all(1, 1)
        second = self.attach(connector(1))
        self.lio.logged_in_to = {
            second.diff.paths[0].iqn: {connector(1)['initiator']}}
        self.pass_time(61)
        self.assertParents([1], self.attach(connector(2)))

    def test_many_die_and_only_two_placements_are_made(self):
        self.attach_all(*range(1, 12))
        self.log_in(11)
        self.pass_time(61)
        with mock.patch('cinder_vmthunder.topology.place',
                        wraps=test_driver.driver.relays.topology.place
                        ) as place:
            self.assertParents([11], self.attach(connector(20)))
        self.assertEqual(2, place.call_count)

    def test_dead_parents_are_replaced_for_the_second_volume(self):
        contracts = self.attach_all(1, 2, 3, 4)
        self.assertParents([2, 3], contracts[4])
        self.log_in(1, 3, 4)
        self.pass_time(61)
        self.assertNotIn('c2', [path.relay for path in self.attach(
            connector(4)).template.parents])


class RecordTest(RelaysTestCase):
    """What is in Cinder's database while and after the driver works."""

    def row(self, attachment_id):
        row = database.attachment(attachment_id)
        return row.attach_status, row.connector, row.connection_info

    def test_what_is_written_is_what_cinder_writes(self):
        attachment_id = self.reserve()
        with mock.patch.object(
                db_api, 'volume_attachment_update',
                wraps=db_api.volume_attachment_update) as update:
            self.attach(connector(1), attachment_id)
        first = update.call_args_list[0].args[2]
        status, kept_connector, info = self.row(attachment_id)
        ours = database.jsonutils.loads(first['connection_info'])
        self.assertEqual(info, {**ours, 'encrypted': False})
        self.assertEqual(kept_connector,
                         database.jsonutils.loads(first['connector']))
        self.assertEqual(status, first['attach_status'])

    def test_member(self):
        self.attach(connector(1))
        row = self.the_attachment(self.attach(connector(2, zone='z')))
        member = membership.Membership.read(row.connection_info)
        self.assertEqual(
            ('c2', 'z', '10.0.1.2:3261', 1, '2026-11-21T12:00:00.000000',
             connector(2)['initiator']),
            (member.host, member.zone, member.portal, len(member.parents),
             member.planned_at, member.initiator))

    def test_failure_leaves_no_member(self):
        attachment_id = self.reserve()
        before = self.row(attachment_id)
        store = test_driver.driver.attachments.Attachments.store

        def stored_but_failed(*arguments):
            store(*arguments)
            raise exception.TargetFailed(name='x', reason='y')

        with mock.patch('cinder_vmthunder.attachments.Attachments.store',
                        stored_but_failed):
            self.assertRaises(exception.TargetFailed, self.attach,
                              connector(1), attachment_id)
        self.assertEqual(before, self.row(attachment_id))
        self.assertEqual({}, self.lio.targets)
        self.assertParents([], self.attach(connector(2)))

    def test_failure_of_the_undoing_hides_nothing(self):
        attachment_id = self.reserve()
        with mock.patch.object(db_api, 'volume_attachment_update',
                               side_effect=OSError('database away')):
            self.assertRaisesRegex(OSError, 'database away', self.attach,
                                   connector(1), attachment_id)
        self.assertEqual({}, self.lio.targets)

    def test_failure_before_the_attachment_is_found(self):
        attachment_id = self.reserve()
        with mock.patch('cinder_vmthunder.attachments.Attachments.find',
                        side_effect=OSError):
            self.assertRaises(OSError, self.attach, connector(1),
                              attachment_id)
        self.assertEqual({}, self.lio.targets)

    def test_legacy_api_has_no_attachment(self):
        self.attach(connector(1))
        volume = database.volume(str(uuid.uuid4()))
        self.create(fakes.Volume(volume.id))
        volume.update(self.driver.create_export(database.admin(), volume,
                                                connector(2)))
        info = self.driver.initialize_connection(volume, connector(2))
        contract = connection.Connection.from_dict(info['data'])
        self.assertParents([], contract)
        self.assertIsNone(contract.template.export)
        self.assertNotIn(membership.KEY, info['data'])
