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


"""What users and operators do with servers, by Nova's API."""

import time
import typing

import openstack
from openstack import exceptions

from tests.lab.controlplane import exception
from tests.lab.controlplane import identity
from tests.lab.controlplane import settings

# The first that evacuates to a server that runs, without knowing of 2.95.
MICROVERSION = '2.94'
# The first server waits for the image's import, and hosts for each privileged
# helper's start: half a minute each, or many times that on a busy machine.
TIMEOUT = 1200
# Each look costs Nova's API and Neutron's a request.
_INTERVAL = 2
# How a live migration ends.
_MIGRATED = ('completed', 'failed', 'error', 'cancelled')


class Servers:
    """The administrator's view of Nova.

    :ivar compute: openstacksdk's proxy, for what isn't here.
    """

    def __init__(self) -> None:
        self._compute: typing.Any = None

    @property
    def compute(self) -> typing.Any:
        """openstacksdk's proxy of Nova."""
        if self._compute is None:
            self._compute = openstack.connection.Connection(
                session=identity.admin_session(),
                region_name=settings.REGION,
                compute_default_microversion=MICROVERSION).compute
        return self._compute

    def create_flavor(self, name: str, memory: int = 96) -> str:
        """Make a flavor without a disk; return its id.

        :param memory: in MiB.
        """
        return str(self.compute.create_flavor(
            name=name, ram=memory, vcpus=1, disk=0).id)

    def create(self, name: str, flavor: str, *, image: str | None = None,
               volume: str | None = None, volume_type: str | None = None,
               size_gb: int = 1, host: str | None = None,
               keep_volume: bool = False) -> str:
        """Have a server made from a volume; return its id at once.

        :param image: an image's id: Nova makes the volume from it,
        :param volume_type: of this type,
        :param size_gb: as large as this.
        :param volume: else, the id of a volume that is there.
        :param host: where to; None leaves it to the scheduler.
        :param keep_volume: don't delete the volume with the server.
        """
        disk: dict[str, typing.Any] = {
            'boot_index': 0, 'destination_type': 'volume',
            'delete_on_termination': not keep_volume}
        if volume is not None:
            disk.update(source_type='volume', uuid=volume)
        else:
            disk.update(source_type='image', uuid=image,
                        volume_type=volume_type, volume_size=size_gb)
        where = {} if host is None else {'host': host}
        server = self.compute.create_server(
            name=name, flavor_id=flavor, networks='none',
            block_device_mapping=[disk], **where)
        return str(server.id)

    def get(self, server_id: str) -> typing.Any:
        """openstacksdk's server as it is now."""
        return self.compute.get_server(server_id)

    def host(self, server_id: str) -> str:
        """The host that a server is on, by name."""
        return str(self.get(server_id).compute_host)

    def exists(self, server_id: str) -> bool:
        """Whether there is such a server."""
        try:
            self.get(server_id)
        except exceptions.NotFoundException:
            return False
        return True

    def volumes(self, server_id: str) -> list[str]:
        """The ids of a server's volumes."""
        return [str(volume['id'])
                for volume in self.get(server_id).attached_volumes]

    def wait(self, server_id: str, status: str = 'ACTIVE',
             timeout: float = TIMEOUT) -> typing.Any:
        """Return the server when it has that status and nothing goes on.

        :raises ServerFailed: it went to ERROR, or isn't there in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            server = self.get(server_id)
            if server.status == status and not server.task_state:
                return server
            if server.status == 'ERROR' and not server.task_state:
                raise exception.ServerFailed(server, 'is in ERROR')
            if time.monotonic() > deadline:
                raise exception.ServerFailed(
                    server, 'is not %s after %d s' % (status, timeout))
            time.sleep(_INTERVAL)

    def console(self, server_id: str) -> str:
        """All that the server wrote to its console since it was started."""
        return str(self.compute.get_server_console_output(
            server_id)['output'])

    def delete(self, server_id: str, wait: bool = True) -> None:
        """Delete a server; waiting, return when it is gone.

        :raises ServerFailed: it is still there after a long time.
        """
        self.compute.delete_server(server_id)
        if wait:
            self.wait_until_gone(server_id)

    def wait_until_gone(self, server_id: str,
                        timeout: float = TIMEOUT) -> None:
        """Return when Nova has deleted a server.

        :raises ServerFailed: it couldn't, or not in that time.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                server = self.get(server_id)
            except exceptions.NotFoundException:
                return
            failed = server.status == 'ERROR' and not server.task_state
            if failed or time.monotonic() > deadline:
                raise exception.ServerFailed(server, 'was not deleted')
            time.sleep(_INTERVAL)

    def migrate(self, server_id: str, host: str) -> None:
        """Move a server while it is off, and confirm that."""
        self.compute.migrate_server(server_id, host=host)
        self._confirm(server_id)

    def resize(self, server_id: str, flavor: str) -> None:
        """Give a server another flavor, wherever that is, and confirm."""
        self.compute.resize_server(server_id, flavor)
        self._confirm(server_id)

    def _confirm(self, server_id: str) -> None:
        self.wait(server_id, 'VERIFY_RESIZE')
        self.compute.confirm_server_resize(server_id)
        self.wait(server_id)

    def live_migrate(self, server_id: str, host: str) -> str:
        """Move a server while it runs; return how the migration ended.

        What comes of the server is another matter.

        :raises ServerFailed: it doesn't end.
        """
        self.compute.live_migrate_server(
            server_id, host=host, block_migration='auto')
        server = self.wait(server_id)
        deadline = time.monotonic() + TIMEOUT
        while True:  # the source has things to do yet
            latest = max(self.compute.migrations(instance_uuid=server_id),
                         key=lambda migration: migration.id)
            if latest.status in _MIGRATED:
                return str(latest.status)
            if time.monotonic() > deadline:
                raise exception.ServerFailed(
                    server, 'has a migration that is ' + latest.status)
            time.sleep(_INTERVAL)

    def evacuate(self, server_id: str, host: str) -> None:
        """Start a server anew elsewhere, whose host is known to be dead."""
        self.compute.evacuate_server(server_id, host=host)
        server = self.wait(server_id)
        deadline = time.monotonic() + TIMEOUT
        while server.compute_host != host:  # Nova tells that a bit later
            if time.monotonic() > deadline:
                raise exception.ServerFailed(server, 'was not evacuated')
            time.sleep(_INTERVAL)
            server = self.get(server_id)

    def shelve(self, server_id: str) -> None:
        """Put a server away, which then is on no host."""
        self.compute.shelve_server(server_id)
        self.wait(server_id, 'SHELVED_OFFLOADED')

    def unshelve(self, server_id: str, host: str) -> None:
        """Take a server out again."""
        self.compute.unshelve_server(server_id, host=host)
        self.wait(server_id)

    def rebuild(self, server_id: str, image: str) -> None:
        """Make a server's disk anew from an image."""
        self.compute.rebuild_server(server_id, image=image)
        self.wait(server_id)

    def stop(self, server_id: str) -> None:
        """Switch a server off."""
        self.compute.stop_server(server_id)
        self.wait(server_id, 'SHUTOFF')

    def start(self, server_id: str) -> None:
        """Switch a server on again."""
        self.compute.start_server(server_id)
        self.wait(server_id)

    def reboot_hard(self, server_id: str) -> None:
        """Have a server begin anew, and its disk attached anew."""
        self.compute.reboot_server(server_id, 'HARD')
        self.wait(server_id)

    def force_down(self, host: str, down: bool) -> None:
        """Tell Nova that a host is dead for sure, or no longer."""
        (service,) = self.compute.services(binary='nova-compute', host=host)
        self.compute.update_service_forced_down(service, forced=down)
