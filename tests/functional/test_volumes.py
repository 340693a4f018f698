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


import subprocess
import tempfile
import uuid

from cinderclient import exceptions as cinder_exceptions

from tests.functional import base
from tests.functional import compute
from tests.functional import storage
from tests.functional import volumes_base
from tests import lab
from tests.lab import brick
from tests.lab.controlplane import attachments
from tests.lab.controlplane import identity

MIB, GIB = volumes_base.MIB, volumes_base.GIB
# python-brick-cinderclient-ext says this with every newer cinderclient,
# after it has attached the volume.
PRINT_DICT = "has no attribute 'print_dict'"

# whose the volumes are; the same for both hosts, as when it migrates
SERVER = str(uuid.uuid4())


class VolumesTest(volumes_base.VolumesTestCase):

    def test_volumes_of_one_image(self) -> None:
        first, second = self.hosts
        # another test may have had the template made
        wanted = self.imports(self.qcow2) + (not self.templates(self.qcow2))
        one, two, _ = self.create(1, 1, 2, image=self.qcow2)
        self.assertEqual(1, len(self.templates(self.qcow2)))
        self.assertEqual(wanted, self.imports(self.qcow2))

        on_first, on_second = base.together(
            lambda: self.attach(first, one, server_id=SERVER),
            lambda: self.attach(second, two))
        self.assertHolds(self.qcow2, first, on_first.device_path)
        self.write(on_first, 4096, b'one' * 5000)
        self.write(on_first, GIB - 512, b'e' * 512)
        self.assertHolds(self.qcow2, second, on_second.device_path)
        self.write(on_second, 4096, b'two' * 5000)

        # as for a live migration, the only way past Cinder's own check
        told = self.refused(
            one, self.cloud.connector_properties(second), SERVER)
        self.assertIn(f'is attached to host {first.name} ', told)
        self.write(on_first, 8 * MIB, b'still here')

        self.detach(on_first)
        self.assertEqual([], first.call(compute.leftovers))
        moved = self.attach(second, one)
        self.assertReads(b'one' * 5000, moved, 4096)
        self.assertReads(b'e' * 512, moved, GIB - 512)
        self.assertReads(b'still here', moved, 8 * MIB)
        self.assertReads(b'two' * 5000, on_second, 4096)
        self.assertReads(bytes(512), on_second, GIB - 512)
        self.detach(on_second)
        self.assertReads(b'one' * 5000, moved, 4096)
        self.detach(moved)

    def test_local_attach(self) -> None:
        (volume,) = self.create(1, image=self.raw)
        host = self.hosts[1]
        path = f'/dev/mapper/vmthunder-{volume}'
        self.cinder(host, 'local-attach', volume)
        self.assertEqual('in-use',
                         self.cloud.volumes.volumes.get(volume).status)
        self.assertHolds(self.raw, host, path)
        self.cinder(host, 'local-detach', volume)
        self.cloud.wait_for_volume(volume)

    def cinder(self, host: lab.Host, command: str, volume: str) -> None:
        """Run a command of python-brick-cinderclient-ext."""
        nic = ['--nic', 'vec0'] if command == 'local-attach' else []
        result = host.run('cinder', command, *nic, volume, env={
            **identity.cli_environment(),
            'OSLO_LOCK_PATH': str(brick.LOCKS)}, check=False, timeout=300)
        if result.status and PRINT_DICT not in result.stderr:
            self.fail(result.stderr)

    def test_host_without_vmthunder(self) -> None:
        """It gets a plain iSCSI volume, as everyone does of a blank one."""
        host, other = self.hosts
        (volume,), (blank,) = base.together(
            lambda: self.create(1, image=self.qcow2),
            lambda: self.create(1))
        plain = self.cloud.connector_properties(host, multipath=False)
        del plain['vmthunder']
        for each in (volume, blank):
            attachment = self.attach_plain(host, each, plain)
            self.write(attachment, 8 * MIB, b'plain')
            if each == volume:
                told = self.refused(
                    volume, self.cloud.connector_properties(other),
                    SERVER)
                self.assertIn(f'is attached to host {host.name} ', told)
            self.detach(attachment)
        self.assertEqual([], self.cloud.storage.call(storage.exports))
        moved = self.attach(other, volume)
        self.assertEqual('vmthunder',
                         moved.connection_info['driver_volume_type'])
        self.assertReads(b'plain', moved, 8 * MIB)
        # a blank one is the same for a host that announces vmthunder
        moved = self.attach(other, blank, multipath=False)
        self.assertEqual('iscsi',
                         moved.connection_info['driver_volume_type'])
        self.assertReads(b'plain', moved, 8 * MIB)
        self.assertReads(bytes(4096), moved, 0)
        self.detach(moved)
        self.remove_portal_locks()

    def attach_plain(self, host: lab.Host, volume: str,
                     connector: attachments.Properties
                     ) -> attachments.Attachment:
        attachment_id, info = self.cloud.initialize(volume, connector, SERVER)
        self.assertEqual('iscsi', info['driver_volume_type'])
        attachment = attachments.Attachment(
            attachment_id, volume, host, info,
            self.cloud.connect(host, info, multipath=False), False)
        self.cloud.complete(attachment_id)
        self.attached.append(attachment)
        return attachment

    def test_image_larger_than_the_volume(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2',
                            file.name, f'{GIB + 512}'], check=True)
            image = self.cloud.upload_image(file.name, 'qcow2', self.id())
        self.addCleanup(self.cloud.delete_image, image)
        with self.assertRaisesRegex(cinder_exceptions.BadRequest,
                                    "doesn't fit in a volume of size 1GB"):
            self.cloud.create_volume(1, image, name=self.id())
        self.assertEqual([], self.cloud.volumes.volumes.list(
            search_opts={'name': self.id()}))

    def test_template_and_cache_go_when_told(self) -> None:
        host = self.hosts[0]
        (volume,) = self.create(1, image=self.qcow2)
        self.detach(self.attach(host, volume))
        self.assertNotEqual([], host.call(compute.cached))
        self.volumes.remove(volume)
        self.cloud.delete_volume(volume)
        self.assertEqual(1, len(self.templates(self.qcow2)))

        base.together(
            lambda: self.cloud.storage.run(
                'vmthunder-manage', '--volume-group', volumes_base.GROUP,
                'template', 'drop', self.qcow2.id, timeout=200),
            *(lambda host=host: host.run(
                'vmthunder', '--lock-path', str(brick.LOCKS), 'cache',
                'drop', '--all', timeout=200) for host in self.hosts))
        for host in self.hosts:
            self.assertEqual([], host.call(compute.cached))
        self.assertWaits(lambda: not self.templates(self.qcow2))
