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

"""Volumes from images on hosts that know nothing of VMThunder."""

from tests.functional import base
from tests.functional import content
from tests.functional import initiator
from tests.functional import operations
from tests.functional import test_lio
from tests.functional import test_templates
from tests.functional import volumes

TEXT = b'written ' * 50


class PlainTest(test_templates.TemplatesTestCase):

    MODE = 'dm'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.storage.preload('tests.functional.operations')
        cls.client = base.get_host(test_lio.CLIENT)
        cls.connector = {'initiator': cls.client.call(initiator.name),
                         'host': cls.client.name}

    def setUp(self):
        super().setUp()
        self.volume = self.create(mode=self.MODE)
        self.iqn = f'iqn.2010-10.org.openstack:volume-{self.volume}'

    def attach(self):
        """Return the disk on the client, and what Cinder hands out."""
        info = self.call(volumes.attach, self.volume, self.connector)
        self.assertEqual('iscsi', info['driver_volume_type'])
        self.addCleanup(self.client.call, initiator.logout, self.iqn)
        return self.login(info['data']), info['data']

    def login(self, data):
        self.assertEqual(self.iqn, data['target_iqn'])
        return self.client.call(
            initiator.login, data['target_portal'], self.iqn,
            data['auth_username'], data['auth_password'])

    def detach(self):
        self.client.call(initiator.logout, self.iqn)
        self.call(volumes.detach, self.volume, self.connector)

    def write(self, disk):
        self.client.call(content.write, disk, TEXT)

    def assertHolds(self, disk, text=TEXT, size=1):
        self.assertEqual([], self.client.call(
            content.differences, disk, self.content(text, size)))

    def content(self, text=TEXT, size=1):
        return content.Content(self.image, test_templates.SIZE, size, text)

    def leftovers(self):
        """Return what is left besides the volume itself."""
        return [name for name in self.call(operations.leftovers)
                if name != f'volume-{self.volume}']

    def test_back_and_forth(self):
        disk, _data = self.attach()
        # a disk like any other, which isn't the diff
        self.assertEqual('LIO-ORG', self.client.call(
            initiator.inquiry, disk)['vendor'])
        self.assertHolds(disk, b'')
        self.write(disk)
        self.assertHolds(disk)
        # also without whoever has it
        self.assertEqual([], self.call(operations.run, 'look', self.volume,
                                       self.content()))
        self.detach()
        self.assertEqual([], self.leftovers())

        self.call(volumes.attach, self.volume, test_templates.A)
        exported = self.call(volumes.lio_objects)
        self.assertEqual(4, len(exported))
        self.assertEqual(2, sum('template' in name for name in exported))
        self.assertEqual(sorted(exported), sorted(self.leftovers()))
        self.call(volumes.detach, self.volume, test_templates.A)

        disk, _data = self.attach()
        self.assertHolds(disk)
        self.detach()
        self.assertEqual([], self.leftovers())

    def test_extend_while_attached(self):
        disk, _data = self.attach()
        self.write(disk)
        self.call(operations.run, 'extend', self.volume, 2)
        self.client.run('iscsiadm', '-m', 'node', '-T', self.iqn, '-R')
        self.assertHolds(disk, size=2)
        self.detach()
        self.assertEqual([], self.leftovers())

    def test_power_cut_of_the_backend(self):
        disk, data = self.attach()
        self.write(disk)
        # what stands for Cinder's database isn't as careful as that is
        self.storage.run('sync', '-f', str(volumes.STATE))
        self.storage.power_off()
        self.storage.power_on()
        self.call(volumes.restart, self.volume, self.connector)
        self.client.call(initiator.logout, self.iqn)
        disk = self.login(data)
        self.assertHolds(disk)
        self.detach()
        self.assertEqual([], self.leftovers())
