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

"""What tenants and operators see, through the whole cloud."""

import dataclasses
import hashlib
import pathlib
import random
import subprocess
import tempfile
import time
import typing
import uuid

from cinderclient import exceptions as cinder_exceptions

from tests.functional import base
from tests.functional import compute
from tests.functional import controlplane_base
from tests.functional import storage
from tests import lab
from tests.lab import brick
from tests.lab.controlplane import attachments
from tests.lab.controlplane import identity
from tests.lab.controlplane import plane

MIB = 1 << 20
GIB = 1 << 30
COMPUTE = (lab.HostSpec('compute-1', 31, memory=384),
           lab.HostSpec('compute-2', 32, memory=384))
GROUP = 'cinder-vmthunder'
# The statistics are taken every 30 s, and much later on a busy machine.
POLL_TIMEOUT = 180
# python-brick-cinderclient-ext says this with every newer cinderclient,
# after it has attached the volume.
PRINT_DICT = "has no attribute 'print_dict'"


@dataclasses.dataclass(frozen=True)
class Image:
    """An image in Glance.

    :ivar size: bytes of its disk.
    :ivar digest: SHA-256 of its disk.
    """

    id: str
    size: int
    digest: str


def make_file(path: pathlib.Path, kind: str, size: int) -> str:
    """Make an image file; return the SHA-256 of its disk."""
    # Zeroes in the middle, and never a partition table in the beginning.
    data = bytearray(random.Random(path.name).randbytes(size))
    data[size // 3:size // 2] = bytes(size // 2 - size // 3)
    raw = path.with_suffix('.raw')
    raw.write_bytes(data)
    if kind != 'raw':
        subprocess.run(['qemu-img', 'convert', '-O', kind, raw, path],
                       check=True)
    return hashlib.sha256(data).hexdigest()


def upload(cloud: plane.ControlPlane, kind: str, size: int) -> Image:
    """Make an image of random bytes; the caller deletes it."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, f'image.{kind}')
        digest = make_file(path, kind, size)
        return Image(cloud.upload_image(path, kind, kind), size, digest)


class VolumesTest(controlplane_base.ControlPlaneTestCase):
    """Two compute hosts, a qcow2 image and a raw one."""

    hosts: typing.ClassVar[list[lab.Host]]
    qcow2: typing.ClassVar[Image]
    raw: typing.ClassVar[Image]

    @classmethod
    def setUpClass(cls) -> None:
        base.get_lab()
        base.together(super().setUpClass, cls.start_hosts)
        # not whole extents of LVM
        cls.qcow2 = cls.upload('qcow2', 24 * MIB - 512)
        cls.raw = cls.upload('raw', 12 * MIB)

    @classmethod
    def start_hosts(cls) -> None:
        cls.hosts = base.together(*(
            lambda spec=spec: base.get_host(spec)
            for spec in COMPUTE))
        base.together(*(lambda host=host:
                        host.preload(*brick.MODULES) for host in cls.hosts))

    @classmethod
    def upload(cls, kind: str, size: int) -> Image:
        image = upload(cls.cloud, kind, size)
        cls.addClassCleanup(cls.cloud.delete_image, image.id)
        return image

    def setUp(self) -> None:
        super().setUp()
        self.volumes: list[str] = []
        self.attached: list[attachments.Attachment] = []

    def tearDown(self) -> None:
        for attachment in list(self.attached):
            self.detach(attachment)
        for volume in self.volumes:
            self.cloud.delete_volume(volume, wait=False)
        for volume in self.volumes:
            self.wait_until_gone(volume)
        # Cinder removes a volume's lock some time after the volume.
        self.assertWaits(lambda: not self.left_on_storage())
        for host in self.hosts:
            self.assertEqual([], host.call(compute.leftovers))
        super().tearDown()

    def left_on_storage(self) -> list[str]:
        return self.cloud.storage.call(storage.leftovers, GROUP)

    def wait_until_gone(self, volume: str) -> None:
        deadline = time.monotonic() + attachments.TIMEOUT
        while True:
            try:
                status = self.cloud.volumes.volumes.get(volume).status
            except cinder_exceptions.NotFound:
                return
            self.assertEqual('deleting', status)
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.3)

    def create(self, *sizes: int, image: Image | None = None) -> list[str]:
        """Make volumes, all at once.

        :param sizes: GiB each.
        """
        made = [self.cloud.create_volume(
            size, image.id if image else None, wait=False).id
            for size in sizes]
        self.volumes += made
        for volume in made:
            self.cloud.wait_for_volume(volume)
        return made

    def attach(self, host: lab.Host, volume: str, **options: typing.Any
               ) -> attachments.Attachment:
        attachment = self.cloud.attach(host, volume, **options)
        self.attached.append(attachment)
        return attachment

    def detach(self, attachment: attachments.Attachment) -> None:
        self.attached.remove(attachment)
        self.cloud.detach(attachment)

    def refused(self, volume: str, connector: attachments.Properties,
                server_id: str | None = None) -> str:
        """Have Cinder refuse to attach; return what it says."""
        there = {row.id for row in self.attachments_of(volume)}
        with self.assertRaises(cinder_exceptions.ClientException) as caught:
            self.cloud.initialize(volume, connector, server_id)
        # What Cinder keeps of the attempt is the caller's to take away.
        for row in self.attachments_of(volume):
            if row.id not in there:
                self.cloud.terminate(row.id)
        return str(caught.exception)

    def attachments_of(self, volume: str) -> list[typing.Any]:
        return list(self.cloud.volumes.attachments.list(
            search_opts={'volume_id': volume}))

    def exports(self, volume: str) -> list[str]:
        return self.cloud.storage.call(storage.exports, volume)

    def templates(self, image: Image) -> list[str]:
        return self.cloud.storage.call(storage.templates, GROUP, image.id)

    def imports(self, image: Image) -> int:
        """How often the image was imported, by cinder-volume's log."""
        return self.cloud.log('cinder-volume').read_text().count(
            f'Imported image {image.id} ')

    def assertHolds(self, image: Image, host: lab.Host, path: str) -> None:
        self.assertEqual(image.digest, host.call(
            compute.checksum, path, image.size))
        self.assertTrue(host.call(compute.is_zero, path, image.size))

    def assertReads(self, data: bytes, attachment: attachments.Attachment,
                    offset: int) -> None:
        self.assertEqual(data, attachment.host.call(
            compute.read, attachment.device_path, offset, len(data)))

    def write(self, attachment: attachments.Attachment, offset: int,
              data: bytes) -> None:
        attachment.host.call(compute.write, attachment.device_path, offset,
                             data)

    def assertWaits(self, wanted: typing.Callable[[], bool]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + POLL_TIMEOUT
        while not wanted():
            self.assertLess(time.monotonic(), deadline,
                            self.left_on_storage())
            time.sleep(1)

    def test_volumes_of_one_image(self) -> None:
        first, second = self.hosts
        # another test may have had the template made
        wanted = self.imports(self.qcow2) + (not self.templates(self.qcow2))
        one, two, _ = self.create(1, 1, 2, image=self.qcow2)
        self.assertEqual(1, len(self.templates(self.qcow2)))
        self.assertEqual(wanted, self.imports(self.qcow2))

        server = str(uuid.uuid4())
        on_first, on_second = base.together(
            lambda: self.attach(first, one, server_id=server),
            lambda: self.attach(second, two))
        self.assertHolds(self.qcow2, first, on_first.device_path)
        self.write(on_first, 4096, b'one' * 5000)
        self.write(on_first, GIB - 512, b'e' * 512)
        self.assertHolds(self.qcow2, second, on_second.device_path)
        self.write(on_second, 4096, b'two' * 5000)

        # as for a live migration, the only way past Cinder's own check
        told = self.refused(
            one, self.cloud.connector_properties(second), server)
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

    def test_local_attach_after_what_is_not_supported(self) -> None:
        (volume,) = self.create(1, image=self.raw)
        self.refuse_snapshot(volume)
        self.refuse_upload(volume)
        self.refuse_extend(volume)

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

    def refuse_snapshot(self, volume: str) -> None:
        snapshots = self.cloud.volumes.volume_snapshots
        made = snapshots.create(volume).id
        self.assertWaits(lambda: snapshots.get(made).status != 'creating')
        self.assertEqual('error', snapshots.get(made).status)
        self.assertTold(volume, made, 'Snapshot failed to create',
                        'cannot snapshot')
        snapshots.delete(made)
        self.assertWaits(lambda: not snapshots.list())

    def refuse_upload(self, volume: str) -> None:
        name = self.id()
        self.cloud.volumes.volumes.upload_to_image(
            volume, False, name, 'bare', 'raw', 'private', False)
        self.cloud.wait_for_volume(volume)
        self.assertTold(volume, volume, 'Failed to upload volume to image',
                        'cannot make an image of')
        self.assertEqual([], [image for image in
                              self.cloud.images.images.list()
                              if image['name'] == name])

    def refuse_extend(self, volume: str) -> None:
        self.cloud.volumes.volumes.extend(volume, 2)
        # Cinder's own status for it, from which an administrator frees it
        self.cloud.wait_for_volume(volume, 'error_extending')
        self.assertTold(volume, volume, 'failed to extend', 'cannot extend')
        self.cloud.volumes.volumes.reset_state(volume, 'available')
        self.assertEqual(1, self.cloud.volumes.volumes.get(volume).size)

    def assertTold(self, volume: str, resource: str, user: str,
                   operator: str) -> None:
        """Check Cinder's message to the user, and its log."""
        def told() -> str:
            return ' '.join(
                message.user_message for message in
                self.cloud.volumes.messages.list(
                    search_opts={'resource_uuid': resource}))
        # the status comes before the message
        self.assertWaits(lambda: user in told())
        self.assertRegex(
            self.cloud.log('cinder-volume').read_text(),
            f'NotSupported: Volume {volume} was made from an image by '
            f'VMThunder, and this release {operator} such a volume')

    def test_connector_without_vmthunder(self) -> None:
        (volume,), (blank,) = base.together(
            lambda: self.create(1, image=self.qcow2),
            lambda: self.create(1))
        plain = self.cloud.connector_properties(self.hosts[0],
                                                multipath=False)
        del plain['vmthunder']
        told = self.refused(volume, plain)
        self.assertIn('host compute-1 cannot attach it', told)
        self.assertIn('Install the vmthunder package there', told)
        self.assertEqual([], self.cloud.storage.call(storage.exports))
        self.assertEqual('available',
                         self.cloud.volumes.volumes.get(volume).status)
        self.check_blank(blank, plain)

    def check_blank(self, volume: str,
                    connector: attachments.Properties) -> None:
        """A blank volume is for every host, as Cinder's LVM volumes are."""
        host = self.hosts[0]
        attachment_id, info = self.cloud.initialize(volume, connector)
        self.assertEqual('iscsi', info['driver_volume_type'])
        attachment = attachments.Attachment(
            attachment_id, volume, host, info,
            self.cloud.connect(host, info, multipath=False), False)
        self.cloud.complete(attachment_id)
        self.attached.append(attachment)
        self.write(attachment, 4096, b'blank')
        self.detach(attachment)
        # a host that announces vmthunder isn't treated differently
        attachment = self.attach(self.hosts[1], volume, multipath=False)
        self.assertEqual('iscsi',
                         attachment.connection_info['driver_volume_type'])
        self.assertReads(b'blank', attachment, 4096)
        self.assertReads(bytes(4096), attachment, 0)
        self.detach(attachment)
        for host in self.hosts:  # os-brick leaves them of iSCSI volumes
            host.run(f'rm {brick.LOCKS}/os-brick-connect_to_iscsi_portal-*-'
                     f'{volume}', shell=True)

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
                'vmthunder-manage', '--volume-group', GROUP, 'template',
                'drop', self.qcow2.id, timeout=200),
            *(lambda host=host: host.run(
                'vmthunder', '--lock-path', str(brick.LOCKS), 'cache',
                'drop', '--all', timeout=200) for host in self.hosts))
        for host in self.hosts:
            self.assertEqual([], host.call(compute.cached))
        self.assertWaits(lambda: not self.templates(self.qcow2))
