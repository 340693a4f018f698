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

"""Live migration as Cinder's API, manager and database see it."""

import uuid

import ddt

from tests.unit.cinder_vmthunder import database
from tests.unit.cinder_vmthunder import fakes
from tests.unit.cinder_vmthunder import test_relays

from cinder_vmthunder import exception

SERVER, OTHER_SERVER = str(uuid.uuid4()), str(uuid.uuid4())


def connector(number, kind):
    said = {'vmm': {'version': '1.2', 'modes': ['dm', 'vmm']},
            'dm': {'version': '1.2', 'modes': ['dm']}, 'plain': None}[kind]
    # LIO and Cinder differ in what they think of case
    return {**fakes.connector(f'c{number}', vmthunder=said),
            'initiator': f'iqn.1993-08.org.debian:{number}'}


class MigrationTestCase(test_relays.RelaysTestCase):

    MODE = 'vmm'

    def setUp(self):
        super().setUp()
        self.patch('cinder.volume.volume_types.get_volume_type_extra_specs',
                   return_value={'vmthunder:snapshot_mode': self.MODE})
        database.volume(fakes.VOLUME)
        self.volume = fakes.Volume(volume_type_id='type')
        self.create(self.volume)
        self.iqn = f'{fakes.PREFIX}{self.volume.name}'

    def attach_to(self, number, server=SERVER, kind='vmm'):
        """Return the attachment, and what the host is told."""
        self.pass_time(1)
        attachment = database.reserve(fakes.VOLUME, instance_uuid=server)
        return attachment, self.cinder.attach(
            fakes.VOLUME, attachment, connector(number, kind))

    def admitted(self):
        return sorted(name.rpartition(':')[2]
                      for name in self.lio.acls.get(self.iqn, ()))

    def assertRefused(self, *args, error=exception.AttachedElsewhere,
                      **keywords):
        before = self.admitted(), dict(self.lio.targets)
        with self.assertRaises(error) as caught:
            self.attach_to(*args, **keywords)
        self.assertIs(error, type(caught.exception))
        self.assertEqual(before, (self.admitted(), self.lio.targets))
        return caught.exception.msg


@ddt.ddt
class MigrationTest(MigrationTestCase):

    @ddt.data('vmm', 'plain')
    def test_there(self, kind):
        source, before = self.attach_to(1, kind=kind)
        _target, info = self.attach_to(2, kind=kind)
        self.assertEqual(['1', '2'], self.admitted())
        self.assertEqual(1, sum(iqn == self.iqn for iqn in self.lio.targets))
        # the first host's sessions go on with the secret they have
        for there in before, info:
            self.assertEqual(before.get('diff', before)['auth_password'],
                             there.get('diff', there)['auth_password'])
        self.cinder.detach(source)
        self.assertEqual(['2'], self.admitted())

    def test_there_and_back(self):
        source, _info = self.attach_to(1)
        target, _info = self.attach_to(2)
        self.cinder.detach(source)
        source, _info = self.attach_to(1)
        self.assertEqual(['1', '2'], self.admitted())
        self.cinder.detach(target)
        self.cinder.detach(source)
        self.assertEqual({}, self.lio.targets)

    def test_rolled_back(self):
        self.attach_to(1)
        target, _info = self.attach_to(2)
        self.cinder.detach(target)
        self.assertEqual(['1'], self.admitted())

    def test_same_host_again_meanwhile(self):
        source, _info = self.attach_to(1)
        target, _info = self.attach_to(2)
        self.cinder.attach(fakes.VOLUME, target, connector(2, 'vmm'))
        self.assertEqual(['1', '2'], self.admitted())

    def test_at_most_two(self):
        self.attach_to(1)
        self.attach_to(2)
        self.assertRefused(3)

    @ddt.data((SERVER, OTHER_SERVER), (SERVER, None), (None, None))
    @ddt.unpack
    def test_another_server(self, first, second):
        self.attach_to(1, first)
        self.assertIn('c1 (iqn', self.assertRefused(2, second))

    @ddt.data(('vmm', 'plain'), ('plain', 'vmm'))
    @ddt.unpack
    def test_hosts_that_get_different_things(self, first, second):
        self.attach_to(1, kind=first)
        self.assertRefused(2, kind=second)

    def test_restart_of_the_backend_meanwhile(self):
        self.attach_to(1)
        self.attach_to(2)
        self.lio.__init__()
        self.driver = self.make()
        self.driver.ensure_export(database.admin(),
                                  database.attachment(
                                      self.attachments()[0].id).volume)
        self.assertEqual(['1', '2'], self.admitted())

    def attachments(self):
        return self.db.volume_attachment_get_all_by_volume_id(
            database.admin(), fakes.VOLUME)

    def test_failure_spares_the_first_host(self):
        self.attach_to(1)
        with self.assertRaises(ValueError):
            self.patch('os_brick_vmthunder.connection.Connection.to_dict',
                       side_effect=ValueError)
            self.attach_to(2)
        self.assertEqual(['1'], self.admitted())


class SnapshotTest(MigrationTestCase):
    """A snapshot of the kernel's can't be on two hosts."""

    MODE = 'dm'

    def test_mode_that_could_is_named(self):
        self.attach_to(1)
        message = self.assertRefused(2, error=exception.CannotMigrate)
        self.assertIn('vmthunder:snapshot_mode=vmm', message)
        self.assertIn('c1 (iqn', message)
        self.assertNotIn('vmm', self.assertRefused(2, OTHER_SERVER))

    def test_what_is_assembled_on_the_backend_can(self):
        self.attach_to(1, kind='plain')
        self.attach_to(2, kind='plain')
        self.assertEqual(['1', '2'], self.admitted())
