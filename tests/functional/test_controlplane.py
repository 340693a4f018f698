# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""The lab's control plane itself, with Cinder's own LVM driver."""

import os
import tempfile
import uuid

from cinderclient import exceptions as cinder_exceptions

from tests.functional import controlplane_base
from tests.lab.controlplane import exception


class ControlPlaneTest(controlplane_base.ControlPlaneTestCase):
    """What every other test of the cloud takes for granted."""

    def make_volume(self) -> str:
        """A blank volume of type lvm, deleted after the test."""
        volume = self.cloud.create_volume(1, type='lvm', name=self.id())
        self.addCleanup(self.delete_if_there, volume.id)
        return str(volume.id)

    def delete_if_there(self, volume_id: str) -> None:
        """Delete a volume, unless the test did."""
        try:
            self.cloud.delete_volume(volume_id)
        except cinder_exceptions.NotFound:
            pass

    def logical_volumes(self) -> list[str]:
        """The logical volumes of the lvm backend."""
        result = self.cloud.storage.run(
            'lvs', '--noheadings', '-o', 'lv_name', 'cinder-lvm')
        return result.stdout.split()

    def test_volume_lives_and_dies(self) -> None:
        volume_id = self.make_volume()
        listed = {row['ID']: row for row in
                  self.cloud.openstack('volume', 'list')}
        self.assertEqual('available', listed[volume_id]['Status'])
        self.assertEqual(1, listed[volume_id]['Size'])
        self.assertIn('volume-' + volume_id, self.logical_volumes())

        self.cloud.delete_volume(volume_id)
        self.assertNotIn('volume-' + volume_id, self.logical_volumes())
        with self.assertRaises(cinder_exceptions.NotFound):
            self.cloud.volumes.volumes.get(volume_id)

    def test_image_comes_back_as_it_was_sent(self) -> None:
        content = os.urandom(1 << 20)
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            image_id = self.cloud.upload_image(file.name, 'raw', self.id())
        self.addCleanup(self.cloud.delete_image, image_id)
        self.assertEqual(
            content, b''.join(self.cloud.images.images.data(image_id)))

    def test_failure_says_what_cinder_says(self) -> None:
        # More than a thin pool may promise: twenty times its size.
        volume = self.cloud.create_volume(
            900, type='lvm', name=self.id(), wait=False)
        self.addCleanup(self.delete_if_there, volume.id)
        with self.assertRaisesRegex(
                exception.VolumeFailed,
                '%s.*Could not find any available' % volume.id):
            self.cloud.wait_for_volume(volume.id)

    def test_client_error_is_in_the_client_s_words(self) -> None:
        missing = str(uuid.uuid4())
        with self.assertRaisesRegex(exception.ControlPlaneError, missing):
            self.cloud.openstack('volume', 'show', missing)

    def test_killed_cinder_volume_comes_back(self) -> None:
        volume_id = self.make_volume()
        self.cloud.kill_cinder_volume()
        self.assertFalse(self.cloud.cinder_volume.process.alive)
        self.cloud.restart_cinder_volume()
        self.cloud.delete_volume(volume_id)
