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

"""What tests and the demo ask of the control plane, by the ordinary API."""

from collections.abc import Mapping
import json
import pathlib
import subprocess
import time
import types
import typing

from cinderclient import client as cinder_client
from cinderclient import exceptions as cinder_exceptions
import glanceclient

from tests.lab.controlplane import exception
from tests.lab.controlplane import identity
from tests.lab.controlplane import settings

MICROVERSION = '3.71'
# The first import of an image on an idle lab takes tens of seconds.
TIMEOUT = 600
# Their commands print nothing, and know no output format.
_SILENT = frozenset(('delete', 'set', 'unset', 'add', 'remove'))


class Client:
    """The administrator's view of Cinder and Glance.

    :ivar volumes: a cinderclient, for tests that make many calls.
    :ivar images: a glanceclient likewise.
    """

    def __init__(self, where: settings.Settings):
        self._where = where
        session = identity.admin_session()
        self.volumes = cinder_client.Client(
            MICROVERSION, session=session, region_name=settings.REGION)
        self.images = glanceclient.Client(
            '2', session=session, region_name=settings.REGION)

    def log(self, name: str) -> pathlib.Path:
        """The log of the service of that name."""
        return self._where.log(name)

    def environment(self, name: str = 'admin') -> dict[str, str]:
        """All of the environment in which commands know the cloud.

        :param name: the user who types them.
        """
        return self._where.environment(**identity.cli_environment(name))

    def openstack(self, *arguments: str) -> typing.Any:
        """Run the `openstack` client, and return what it printed, parsed.

        :returns: None where the command prints nothing.
        :raises ControlPlaneError: it failed; the message has its own words.
        """
        command = ['openstack', *arguments]
        if not _SILENT.intersection(arguments):
            command += ['-f', 'json']
        result = subprocess.run(
            command, capture_output=True, text=True, check=False,
            env=self.environment())
        if result.returncode:
            raise exception.ControlPlaneError('`%s` failed: %s' % (
                ' '.join(command),
                result.stderr.strip() or result.stdout.strip()))
        return json.loads(result.stdout) if result.stdout.strip() else None

    def upload_image(self, path: pathlib.Path | str, disk_format: str,
                     name: str, **properties: typing.Any) -> str:
        """Upload a file as an image and return the image's id."""
        image = self.images.images.create(
            name=name, disk_format=disk_format, container_format='bare',
            **properties)
        with open(path, 'rb') as data:
            self.images.images.upload(image['id'], data)
        return str(image['id'])

    def delete_image(self, image_id: str) -> None:
        """Delete an image."""
        self.images.images.delete(image_id)

    def create_type(self, name: str, backend: str,
                    specs: Mapping[str, str] = types.MappingProxyType({})
                    ) -> None:
        """Make a volume type that picks the backend of that name.

        :param specs: its other extra specs.
        """
        kind = self.volumes.volume_types.create(name)
        kind.set_keys({'volume_backend_name': backend, **specs})

    def create_volume(self, size_gb: int, image: str | None = None,
                      type: str = 'vmthunder', name: str | None = None,
                      wait: bool = True, **options: typing.Any) -> typing.Any:
        """Create a volume, and wait until it can be used.

        :param size_gb: size in GiB.
        :param image: an image's id; None makes a blank volume.
        :param wait: else return at once.
        :param options: what else cinderclient's create takes.
        :returns: cinderclient's volume.
        :raises VolumeFailed: it went to `error`.
        """
        volume = self.volumes.volumes.create(
            size_gb, imageRef=image, volume_type=type, name=name, **options)
        return self.wait_for_volume(volume.id) if wait else volume

    def wait_for_volume(self, volume_id: str, status: str = 'available',
                        timeout: float = TIMEOUT) -> typing.Any:
        """Return the volume when it has that status.

        :param timeout: seconds.
        :raises VolumeFailed: it has an error or doesn't get there in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            volume = self.volumes.volumes.get(volume_id)
            if volume.status == status:
                return volume
            if volume.status.startswith('error'):
                raise exception.VolumeFailed(self._explain(
                    volume_id, 'has status %s' % volume.status))
            if time.monotonic() > deadline:
                raise exception.VolumeFailed(self._explain(
                    volume_id, 'has status %s, not %s, after %d s'
                    % (volume.status, status, timeout)))
            time.sleep(0.3)

    def delete_volume(self, volume_id: str, wait: bool = True,
                      timeout: float = TIMEOUT) -> None:
        """Delete a volume; waiting, return when it is gone.

        :param timeout: seconds.
        :raises VolumeFailed: Cinder couldn't delete it.
        """
        self.volumes.volumes.delete(volume_id)
        deadline = time.monotonic() + timeout
        while wait:
            try:
                status = self.volumes.volumes.get(volume_id).status
            except cinder_exceptions.NotFound:
                return
            # A failed deletion may also give the volume its old status back.
            if status != 'deleting' or time.monotonic() > deadline:
                raise exception.VolumeFailed(self._explain(
                    volume_id, 'was not deleted and has status %s' % status))
            time.sleep(0.3)

    def _explain(self, volume_id: str, problem: str) -> str:
        """A message with what Cinder tells its users about a volume."""
        messages = self.volumes.messages.list(
            search_opts={'resource_uuid': volume_id})
        told = '; '.join(m.user_message for m in messages)
        return 'volume %s %s. Cinder says: %s. More in %s and %s.' % (
            volume_id, problem, told or 'nothing',
            self.log('cinder-volume'), self.log('cinder-scheduler'))
