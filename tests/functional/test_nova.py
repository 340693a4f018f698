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


"""Servers that Nova boots from volumes, on real kernels."""

from tests.functional import base
from tests.functional import nova_base


class ServersTest(nova_base.NovaTestCase):

    def test_stock_lvm(self) -> None:
        """The lab itself works, with what Cinder and Nova bring along."""
        server = self.create(self.hosts[0], 'lvm')
        self.servers.wait(server)
        self.assertServes(server)
        self.delete(server)
        self.assertNothingLeft()

    def test_nobody_is_root(self) -> None:
        """Each service is its own user's, as is all that it has written."""
        server = self.create(self.hosts[0], 'vmthunder')
        self.servers.wait(server)
        for host, user, module in (
                (self.cloud.storage, 'cinder', 'cinder.cmd.volume'),
                (self.hosts[0], 'nova', 'nova.cmd.compute')):
            processes = host.run('ps', '-eo', 'user,args').stdout
            self.assertEqual(
                {user}, {line.split()[0] for line in processes.splitlines()
                         if module in line})
        self.assertEqual('', self.cloud.storage.run(
            'find', '/var/lib/cinder', '!', '-user', 'cinder').stdout)
        self.delete(server)

    def test_four_at_once(self) -> None:
        """Two on each host, from one image that is read but once."""
        homes = self.hosts * 2
        servers = [self.create(host, 'vmthunder') for host in homes]
        for host, server in zip(homes, servers):
            self.assertEqual(host.name,
                             self.servers.wait(server).compute_host)
            # It is vmthunder's, not plain iSCSI that would do as well.
            host.run('test', '-b', self.device(server))
        guests = base.together(*(
            lambda server=server: self.assertServes(server)
            for server in servers))
        # Each disk is a server's own.
        self.assertEqual(4, len({guest.mark for guest in guests}))
        self.assertEqual(1, self.cloud.log('cinder-volume').read_text().count(
            f'Imported image {self.image} '))
        for host in self.hosts:
            # One template for both, and it is cached.
            templates = host.run('dmsetup', 'info', '-c', '--noheadings',
                                 '-o', 'uuid').stdout
            self.assertEqual(1, templates.count('VMTHUNDER-template-'))
            self.assertNotEqual(
                '', host.run('sh', '-c', 'ls -d /sys/block/bcache*',
                             check=False).stdout)
        self.delete(*servers)
        self.assertNothingLeft()
