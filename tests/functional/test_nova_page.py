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


"""The page "Boot many identical servers", as a new user types it."""

import functools
import pathlib
import tempfile

from tests.functional import base
from tests.functional import nova_base
from tests.functional import page
from tests import lab
from tests.lab.controlplane import identity
from tests.lab import image

USER = 'demo'
# What the lab has else: no Neutron, and less room for servers.
INSTEAD = {'--network private': '--no-network',
           # Who has the default name needs no option.
           'vmthunder-manage':
           'vmthunder-manage --volume-group cinder-vmthunder',
           '--min 20 --max 20': '--min 2 --max 2',
           '$(seq 20)': '$(seq 2)'}


class PageTest(nova_base.NovaTestCase):

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.terminal = page.Terminal(pathlib.Path(directory.name))
        pathlib.Path(
            directory.name, 'debian-12-genericcloud-amd64.qcow2'
        ).symlink_to(image.find())
        self.commands = iter(page.commands('boot'))
        identity.create_user(USER)
        self.cloud.nova.servers.create_flavor('m1.small')
        # The page makes them.
        for name in ('vmthunder', nova_base.MOVABLE):
            self.rename_type(name, f'lab-{name}')
            self.addCleanup(self.give_back_type, name)

    def rename_type(self, old: str, new: str) -> None:
        types = self.cloud.volumes.volume_types
        types.update(types.find(name=old), name=new)

    def give_back_type(self, name: str) -> None:
        types = self.cloud.volumes.volume_types
        made = [found for found in types.list() if found.name == name]
        for found in made:  # one of the default's name can't be deleted
            types.update(found, name=f'page-{name}')
        self.rename_type(f'lab-{name}', name)
        for found in made:
            types.delete(found)

    def ask(self, text: str, user: str = USER) -> str:
        """Run a command that isn't the page's."""
        return self.terminal.type(text, self.cloud.environment(user)).strip()

    def type(self, beginning: str, **names: str) -> str:
        """Run the page's next command, on the machine, and show its output.

        :param beginning: of the command that is meant.
        :param names: what the reader puts for names in capitals.
        """
        command = self.next(beginning)
        text = command.text
        for name, value in names.items():
            self.assertIn(name, text)
            text = text.replace(name, value)
        return self.ask(text, 'admin' if command.by_administrator else USER)

    def next(self, beginning: str) -> page.Command:
        command = next(self.commands)
        for old, new in INSTEAD.items():
            command = page.Command(command.text.replace(old, new),
                                   command.by_administrator)
        self.assertEqual(beginning, command.text[:len(beginning)])
        return command

    def type_on(self, host: lab.Host, beginning: str) -> str:
        """Run the page's next command on a host, as root."""
        command = self.next(beginning)
        self.assertTrue(command.by_administrator)
        return str(host.run('sh', '-c', command.text).stdout)

    def servers_of_user(self) -> list[str]:
        return self.ask('openstack server list -f value -c ID').split()

    def assertServe(self, servers: list[str]) -> None:
        for server in servers:
            self.servers.wait(server)
        base.together(*(functools.partial(self.assertServes, server)
                        for server in servers))

    def test_boot(self) -> None:
        self.backend()
        self.image_and_first_volume()
        first, second = self.one_command()
        self.delete(second)
        self.volumes_first(first)
        self.live_migration(first)
        self.assertIsNone(next(self.commands, None))
        self.delete(*self.servers_of_user())
        self.assertNothingLeft()

    def backend(self) -> None:
        self.assertIn('storage@vmthunder',
                      self.type('openstack volume service list'))
        self.type('openstack volume type create vmthunder')
        self.type('openstack quota set')

    def image_and_first_volume(self) -> None:
        self.type('openstack image create')
        self.type('openstack volume create')
        self.assertWaits(lambda: self.ask(
            'openstack volume show first -f value -c status') == 'available',
            timeout=600)
        self.assertIn('available', self.type('openstack volume show'))
        self.type('openstack volume delete')

    def one_command(self) -> list[str]:
        self.type('image=')
        self.type('openstack --os-compute-api-version 2.67 server create')
        servers = self.servers_of_user()
        self.assertEqual(2, len(servers))
        self.assertServe(servers)
        return servers

    def volumes_first(self, kept: str) -> None:
        self.type('for n in $(seq 2); do\n      openstack volume create')
        self.type('openstack volume list')
        self.assertWaits(lambda: 'creating' not in self.ask(
            'openstack volume list'))
        self.type('for n in $(seq 2); do\n      openstack server create')
        more = [server for server in self.servers_of_user()
                if server != kept]
        self.assertEqual(2, len(more))
        self.assertServe(more)
        self.looking(kept)
        volumes = [volume for server in more
                   for volume in self.servers.volumes(server)]
        self.delete_kept(more, volumes)

    def looking(self, server: str) -> None:
        (volume,) = self.servers.volumes(server)
        tree = self.type('vmthunder tree')
        for host in self.hosts:
            self.assertIn(host.name, tree)
        kept = self.type_on(self.hosts[0], 'vmthunder cache list')
        templates = self.type_on(self.cloud.storage, 'vmthunder-manage')
        (line,) = [line for line in templates.splitlines()
                   if self.ask('echo $image') in line]
        self.assertIn(line.split()[0], kept)
        attachment = self.attachment(volume, 'attached', self.type(
            'openstack --os-volume-api-version 3.27 volume attachment list',
            VOLUME=volume))
        self.assertIn('vmthunder', self.type(
            'openstack --os-volume-api-version 3.27 volume attachment show',
            ATTACHMENT=attachment))

    def attachment(self, volume: str, status: str, listed: str) -> str:
        """Return a volume's attachment of that status; it is listed."""
        (found,) = [row.id for row in self.cloud.volumes.attachments.list(
            search_opts={'all_tenants': True, 'volume_id': volume})
            if row.status == status]
        self.assertIn(found, listed)
        return str(found)

    def live_migration(self, staying: str) -> None:
        self.type('openstack volume type create vmthunder-vmm')
        moving = self.ask(
            'openstack --os-compute-api-version 2.67 server create -f value '
            '-c id --flavor m1.small --no-network --block-device uuid=$image,'
            'source_type=image,destination_type=volume,volume_size=10,'
            'volume_type=vmthunder-vmm,boot_index=0,'
            'delete_on_termination=true moving')
        self.assertServe([moving])
        home = self.servers.host(moving)
        self.type('openstack server migrate', SERVER=moving)
        self.servers.wait(moving)
        self.assertNotEqual(home, self.servers.host(moving))

        (volume,) = self.servers.volumes(staying)
        home = self.servers.host(staying)
        (other,) = {host.name for host in self.hosts} - {home}
        self.assertEqual('failed', self.servers.live_migrate(staying, other))
        attachment = self.attachment(volume, 'reserved', self.type(
            'openstack --os-volume-api-version 3.27 volume attachment list',
            VOLUME=volume))
        self.type(
            'openstack --os-volume-api-version 3.27 volume attachment delete',
            ATTACHMENT=attachment)

    def delete_kept(self, servers: list[str], volumes: list[str]) -> None:
        """Delete servers, and their volumes, which outlive them."""
        for server in servers:
            self.servers.delete(server)
        for volume in volumes:
            self.cloud.delete_volume(volume)
