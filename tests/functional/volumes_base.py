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

from cinderclient import exceptions as cinder_exceptions

from tests.functional import base
from tests.functional import compute
from tests.functional import controlplane_base
from tests.functional import storage
from tests import lab
from tests.lab import brick
from tests.lab.controlplane import attachments
from tests.lab.controlplane import plane

MIB = 1 << 20
GIB = 1 << 30
COMPUTE = (lab.HostSpec('compute-1', 31, memory=384),
           lab.HostSpec('compute-2', 32, memory=384))
GROUP = 'cinder-vmthunder'
# The statistics are taken every 30 s, and much later on a busy machine.
POLL_TIMEOUT = 180


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


class VolumesTestCase(controlplane_base.ControlPlaneTestCase):
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

    def remove_portal_locks(self) -> None:
        """Remove the lock files that os-brick leaves of iSCSI volumes."""
        for host in self.hosts:
            host.run(f'rm -f {brick.LOCKS}/os-brick-'
                     f'connect_to_iscsi_portal-*', shell=True)

    def assertWaits(self, wanted: typing.Callable[[], bool],
                    timeout: float = POLL_TIMEOUT) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + timeout
        while not wanted():
            self.assertLess(time.monotonic(), deadline,
                            self.left_on_storage())
            time.sleep(1)
