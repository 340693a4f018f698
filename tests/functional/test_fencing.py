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

"""A volume is on one host at a time, whatever the others try."""

import ddt

from cinder_vmthunder import exception
from tests.functional import base
from tests.functional import initiator
from tests.functional import test_lio
from tests.functional import test_templates
from tests.functional import volumes
from tests import lab

CLIENTS = (test_lio.CLIENT,
           lab.HostSpec('initiator-2', 74, memory=256, services=('iscsid',)))
# Behind the template's data and, if it is a diff, behind what was copied.
PLACE = 200 << 20
KINDS = ('vmthunder', 'plain')


@ddt.ddt
class FencingTest(test_templates.TemplatesTestCase):
    """Bare initiators, which don't do as they are told."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hosts = [base.get_host(spec) for spec in CLIENTS]
        cls.names = [host.call(initiator.name) for host in cls.hosts]

    def setUp(self):
        super().setUp()
        self.volume = self.create()
        self.iqn = f'iqn.2010-10.org.openstack:volume-{self.volume}'
        for host in self.hosts:
            self.addCleanup(host.call, initiator.logout, self.iqn)

    def connector(self, number, kind):
        made = {'initiator': self.names[number],
                'host': self.hosts[number].name}
        if kind == 'vmthunder':
            made['vmthunder'] = test_templates.A['vmthunder']
        return made

    def attach(self, number, kind, **keywords):
        """Return name and password that Cinder hands out."""
        info = self.call(volumes.attach, self.volume,
                         self.connector(number, kind), **keywords)
        self.assertEqual('vmthunder' if kind == 'vmthunder' else 'iscsi',
                         info['driver_volume_type'])
        secret = info['data'].get('diff', info['data'])
        return secret['auth_username'], secret['auth_password']

    def login(self, number, secret):
        return self.hosts[number].call(initiator.login, test_lio.PORTAL,
                                       self.iqn, *secret)

    def write(self, number, disk, text, check=True):
        return self.hosts[number].run(
            'dd', f'of={disk}', 'bs=512', 'oflag=direct',
            f'seek={PLACE // 512}', input=text.ljust(512), check=check)

    def read(self, number, disk):
        return self.hosts[number].run(
            'dd', f'if={disk}', 'bs=512', 'iflag=direct', 'count=1',
            f'skip={PLACE // 512}').stdout.strip()

    def assertCutOff(self, number, disk):
        written = self.write(number, disk, 'uninvited', check=False)
        self.assertNotEqual(0, written.status)
        self.assertFalse(self.hosts[number].call(initiator.reads, disk))

    def assertRefused(self, number, secret):
        """Try again with a secret, as one who was never told to go."""
        self.hosts[number].call(initiator.logout, self.iqn)
        self.assertRaises(PermissionError, self.login, number, secret)

    @ddt.data(*KINDS)
    def test_second_host_is_refused(self, kind):
        disk = self.login(0, self.attach(0, kind))
        for other in KINDS:
            with self.assertRaises(exception.AttachedElsewhere) as caught:
                self.attach(1, other, there=self.connector(0, kind))
            self.assertIn(f'{self.hosts[0].name} ({self.names[0]})',
                          caught.exception.msg)
            self.write(0, disk, f'despite {other}')
            self.assertEqual(f'despite {other}', self.read(0, disk))
        # nor may it come uninvited, by whatever it knows
        self.assertRaises(PermissionError, self.login, 1, ('', ''))

    @ddt.data(('vmthunder', 'vmthunder'), ('vmthunder', 'plain'),
              ('plain', 'plain'), ('plain', 'vmthunder'))
    @ddt.unpack
    def test_back_from_the_dead(self, kind, other):
        """Evacuated from a host whose network was cut, which comes back."""
        old_secret = self.attach(0, kind)
        old_disk = self.login(0, old_secret)
        self.write(0, old_disk, 'first')
        self.hosts[0].network.cut()
        self.addCleanup(self.hosts[0].network.restore)
        self.call(volumes.detach, self.volume, None)
        # nobody waits for the host: it is out before another is let in
        self.assertEqual([], self.call(volumes.lio_objects))

        secret = self.attach(1, other)
        self.assertNotEqual(old_secret, secret)
        disk = self.login(1, secret)
        if kind == other:
            self.assertEqual('first', self.read(1, disk))
        self.write(1, disk, 'second')
        self.hosts[0].network.restore()
        self.assertCutOff(0, old_disk)
        self.assertRefused(0, old_secret)
        self.assertRefused(0, secret)
        self.assertEqual('second', self.read(1, disk))

        # given back, the first host needs what Cinder hands out now
        self.hosts[1].call(initiator.logout, self.iqn)
        self.call(volumes.detach, self.volume, self.connector(1, other))
        new_secret = self.attach(0, other)
        self.assertRefused(0, old_secret)
        disk = self.login(0, new_secret)
        self.assertEqual('second', self.read(0, disk))

    @ddt.data(*KINDS)
    def test_detaching_ends_the_session(self, kind):
        disk = self.login(0, self.attach(0, kind))
        self.call(volumes.detach, self.volume, self.connector(0, kind))
        self.assertCutOff(0, disk)
        self.assertEqual([], self.call(volumes.lio_objects))
