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

"""What Cinder's users do with volumes, on volumes made from images."""

import hashlib
import pathlib
import subprocess
import tempfile
import typing

from cinderclient import exceptions as cinder_exceptions

from tests.functional import volumes_base
from tests.lab import brick
from tests.lab.controlplane import attachments
from tests.lab.controlplane import client

MIB, GIB = volumes_base.MIB, volumes_base.GIB
HERE, THERE = 8 * MIB, GIB - MIB  # within the template, and past it


class ContractTest(volumes_base.VolumesTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.client = self.cloud.volumes
        self.host = self.hosts[0]
        self.snapshots: list[str] = []
        (self.volume,) = self.create(1, image=self.raw)

    def tearDown(self) -> None:
        for attachment in list(self.attached):
            self.detach(attachment)
        for snapshot in self.snapshots:
            self.client.volume_snapshots.delete(snapshot)
        self.assertWaits(lambda: not self.client.volume_snapshots.list())
        super().tearDown()

    def snapshot(self, volume: str) -> str:
        made = self.client.volume_snapshots.create(volume, force=True).id
        self.snapshots.append(made)
        self.assertWaits(lambda: self.client.volume_snapshots.get(
            made).status == 'available')
        return made

    def new(self, size: int, **source: str) -> str:
        made = self.client.volumes.create(
            size, volume_type='vmthunder', **source).id
        self.volumes.append(made)
        self.cloud.wait_for_volume(made)
        return made

    def mark(self, attachment: attachments.Attachment, text: bytes) -> None:
        for offset in (HERE, THERE):
            self.write(attachment, offset, text)

    def assertMarked(self, text: bytes, attachment: attachments.Attachment
                     ) -> None:
        for offset in (HERE, THERE):
            self.assertReads(text, attachment, offset)
        self.assertReads(bytes(4096), attachment, 16 * MIB)

    def assertHoldsMark(self, text: bytes, volume: str) -> None:
        attachment = self.attach(self.hosts[1], volume)
        self.assertMarked(text, attachment)
        self.detach(attachment)

    def test_while_it_is_in_use(self) -> None:
        attachment = self.attach(self.host, self.volume)
        self.mark(attachment, b'one')
        snapshot = self.snapshot(self.volume)
        self.mark(attachment, b'two')
        clone = self.new(1, source_volid=self.volume)
        larger = self.new(2, snapshot_id=snapshot)
        self.check_upload(attachment, b'two')
        self.check_extend(attachment)
        self.mark(attachment, b'six')
        self.detach(attachment)

        self.assertHoldsMark(b'two', clone)
        self.assertHoldsMark(b'one', larger)
        self.assertHoldsMark(b'six', self.volume)
        # in another order than they were made
        self.volumes.remove(clone)
        self.cloud.delete_volume(clone)
        self.assertHoldsMark(b'one', larger)

    def check_upload(self, attachment: attachments.Attachment,
                     text: bytes) -> None:
        image = self.client.volumes.upload_to_image(
            self.volume, True, self.id(), 'bare', 'qcow2', 'private', False
        )[1]['os-volume_upload_image']['image_id']
        self.addCleanup(self.cloud.delete_image, image)
        self.cloud.wait_for_volume(self.volume, 'in-use')
        with tempfile.TemporaryDirectory() as directory:
            raw = self.download(image, pathlib.Path(directory))
            with open(raw, 'rb') as file:
                for offset in (HERE, THERE):
                    file.seek(offset)
                    self.assertEqual(text, file.read(len(text)))
                file.seek(0)
                beginning = file.read(HERE)
            self.assertEqual(GIB, raw.stat().st_size)
        self.assertEqual(
            hashlib.sha256(beginning).hexdigest(),
            attachment.host.call(
                volumes_base.compute.checksum, attachment.device_path, HERE))

    def download(self, image: str, directory: pathlib.Path) -> pathlib.Path:
        qcow2, raw = directory / 'qcow2', directory / 'raw'
        with open(qcow2, 'wb') as file:
            for block in self.cloud.images.images.data(image):
                file.write(block)
        subprocess.run(['qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw',
                        qcow2, raw], check=True)
        return raw

    def check_extend(self, attachment: attachments.Attachment) -> None:
        self.client.volumes.extend(self.volume, 2)
        self.cloud.wait_for_volume(self.volume, 'in-use')
        info = attachment.connection_info  # as old as Nova's
        self.assertEqual(2 * GIB, attachment.host.call(
            brick.extend, info['driver_volume_type'], info['data'], True,
            timeout=attachments.TIMEOUT))
        self.assertReads(bytes(4096), attachment, GIB)
        self.write(attachment, 2 * GIB - 512, b'e' * 512)
        self.assertReads(b'e' * 512, attachment, 2 * GIB - 512)

    def test_revert(self) -> None:
        attachment = self.attach(self.host, self.volume)
        self.mark(attachment, b'one')
        self.detach(attachment)
        snapshot = self.snapshot(self.volume)
        attachment = self.attach(self.host, self.volume)
        self.mark(attachment, b'two')
        self.detach(attachment)
        self.client.volumes.revert_to_snapshot(
            self.client.volumes.get(self.volume),
            self.client.volume_snapshots.get(snapshot))
        self.cloud.wait_for_volume(self.volume)
        self.assertHoldsMark(b'one', self.volume)

    def test_to_stock_lvm_and_back(self) -> None:
        attachment = self.attach(self.host, self.volume)
        self.mark(attachment, b'one')
        self.detach(attachment)
        for kind in ('lvm', 'vmthunder'):
            self.retype(kind)
            found = self.client.volumes.get(self.volume)
            self.assertEqual(kind, found.volume_type)
            self.assertIn(f'@{kind}#', getattr(found,
                                               'os-vol-host-attr:host'))
            self.assertHoldsMark(b'one', self.volume)
        self.remove_portal_locks()
        # the LV of a volume that was moved has nothing to do with a template
        self.assertEqual([], self.cloud.storage.call(
            volumes_base.storage.exports))

    def retype(self, kind: str) -> None:
        self.client.volumes.retype(self.volume, kind, 'on-demand')

        def done() -> bool:
            found = self.client.volumes.get(self.volume)
            self.assertNotIn('error', (found.status, found.migration_status))
            return (found.volume_type, found.status) == (kind, 'available')

        self.assertWaits(done, client.TIMEOUT)

    def test_backup_and_restore(self) -> None:
        self.cloud.start_backup()
        attachment = self.attach(self.host, self.volume)
        self.mark(attachment, b'one')
        backup = self.backup(force=True)
        self.mark(attachment, b'two')
        self.detach(attachment)
        self.restore(backup, self.volume)
        self.assertHoldsMark(b'one', self.volume)
        self.client.backups.delete(backup)
        self.assertWaits(lambda: not self.client.backups.list())

    def backup(self, **options: typing.Any) -> str:
        made = self.client.backups.create(self.volume, **options).id
        self.assertBackup(made)
        return made

    def restore(self, backup: str, volume: str) -> None:
        self.client.restores.restore(backup, volume)
        self.assertBackup(backup)
        self.cloud.wait_for_volume(volume)

    def assertBackup(self, backup: str) -> None:
        def done() -> bool:
            found = self.client.backups.get(backup)
            self.assertNotEqual('error', found.status, found.fail_reason)
            return found.status == 'available'
        self.assertWaits(done, client.TIMEOUT)

    def test_manage_again(self) -> None:
        attachment = self.attach(self.host, self.volume)
        self.mark(attachment, b'one')
        self.detach(attachment)
        host = getattr(self.client.volumes.get(self.volume),
                       'os-vol-host-attr:host')
        self.client.volumes.unmanage(self.volume)
        self.wait_until_unmanaged(self.volume)
        self.volumes.remove(self.volume)
        made = self.client.volumes.manage(
            host, {'source-name': f'volume-{self.volume}'},
            volume_type='vmthunder').id
        self.volumes.append(made)
        self.assertEqual(1, self.cloud.wait_for_volume(made).size)
        self.assertHoldsMark(b'one', made)

    def wait_until_unmanaged(self, volume: str) -> None:
        def gone() -> bool:
            try:
                self.client.volumes.get(volume)
            except cinder_exceptions.NotFound:
                return True
            return False
        self.assertWaits(gone)
