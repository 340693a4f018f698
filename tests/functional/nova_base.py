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


"""Base of the functional tests that have Nova make servers."""

from __future__ import annotations

import atexit
import functools
import time
import typing

from cinderclient import exceptions as cinder_exceptions

from tests.functional import base
from tests.functional import compute
from tests.functional import storage
from tests import lab
from tests.lab import brick
from tests.lab.controlplane import computeservice
from tests.lab.controlplane import plane
from tests.lab.controlplane import servers as servers_module
from tests.lab import guestlog
from tests.lab import image
from tests.lab import storagenode

COMPUTE = tuple(computeservice.host_spec(number) for number in (1, 2))
# The volume type whose servers can be moved while they run.
MOVABLE = 'vmthunder-vmm'
# A guest boots in half a minute where it has a processor to itself.
BOOT_TIMEOUT = 600


@functools.cache
def get_cloud() -> plane.ControlPlane:
    """The process's control plane with Nova, started when asked for."""
    cloud = plane.ControlPlane(
        base.get_lab(), compute=COMPUTE,
        cinder_user=storagenode.CINDER).__enter__()
    # The lab closes after it: what was registered last is called first.
    atexit.register(cloud.stop)
    cloud.create_type(MOVABLE, 'vmthunder',
                      {'vmthunder:snapshot_mode': 'vmm'})
    return cloud


@functools.cache
def get_image() -> str:
    """The id of the image that servers are made from."""
    return get_cloud().upload_image(image.find(), 'qcow2', 'debian')


@functools.cache
def get_flavor(memory: int) -> str:
    """The id of a flavor with that much memory, in MiB."""
    return get_cloud().nova.servers.create_flavor(f'tiny-{memory}', memory)


class NovaTestCase(base.FunctionalTestCase):
    """Two compute hosts; after each class nothing is left on them."""

    cloud: typing.ClassVar[plane.ControlPlane]
    hosts: typing.ClassVar[list[lab.Host]]
    servers: typing.ClassVar[servers_module.Servers]
    image: typing.ClassVar[str]
    flavor: typing.ClassVar[str]
    LIMIT = 3600

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.cloud = get_cloud()
        cls.hosts = cls.cloud.nova.hosts
        cls.servers = cls.cloud.nova.servers
        cls.image = get_image()
        cls.flavor = get_flavor(96)

    def create(self, host: lab.Host, volume_type: str,
               **options: typing.Any) -> str:
        """Begin to make a server; it is deleted after the test."""
        server = self.servers.create(
            self.id().rpartition('.')[2], self.flavor, image=self.image,
            volume_type=volume_type, host=host.name, **options)
        self.addCleanup(self.delete, server)
        return server

    def delete(self, *ids: str) -> None:
        """Delete servers that are there, and wait for their volumes' end."""
        there = [server for server in ids if self.servers.exists(server)]
        volumes = [volume for server in there
                   for volume in self.servers.volumes(server)]
        for server in there:
            self.servers.delete(server, wait=False)
        for server in there:
            self.servers.wait_until_gone(server)
        # Nova leaves them to Cinder.
        for volume in volumes:
            self.assertWaits(functools.partial(self.is_gone, volume))

    def is_gone(self, volume: str) -> bool:
        try:
            status = self.cloud.volumes.volumes.get(volume).status
        except cinder_exceptions.NotFound:
            return True
        self.assertNotIn('error', status)
        return False

    def device(self, server: str) -> str:
        """The device of a server's disk, if it is vmthunder's."""
        (volume,) = self.servers.volumes(server)
        return f'/dev/mapper/vmthunder-{volume}'

    def assertServes(self, server: str, boots: int = 1, beats: int = 2
                     ) -> guestlog.Guest:
        """Wait until a server has booted so often, and does its work.

        Its console has been on one host since the last boot.

        :param boots: of its disk, all by this server.
        :param beats: how often it has seen its data since the last.
        """
        deadline = time.monotonic() + BOOT_TIMEOUT
        guest = guestlog.Guest()
        while len(guest.diary) < boots or guest.beats < beats:
            self.assertLess(time.monotonic(), deadline, (
                guest, self.servers.console(server)[-3000:]))
            time.sleep(3)
            guest = guestlog.read(self.servers.console(server))
        self.assertEqual(
            tuple(f'boot by {server} {number + 1}'
                  for number in range(boots)), guest.diary)
        self.assertTrue(guest.intact)
        self.assertTrue(guest.healthy)
        return guest

    def assertGoesOn(self, server: str, before: guestlog.Guest,
                     beats: int = 2) -> guestlog.Guest:
        """Wait until a server has seen its data so often since before.

        :param before: what it said earlier, maybe on another console.
        """
        guest = guestlog.Guest()

        def later() -> bool:
            nonlocal guest
            guest = guestlog.read(self.servers.console(server))
            return guest.beats >= before.beats + beats

        self.assertWaits(later)
        self.assertTrue(guest.healthy)
        return guest

    def assertNothingLeft(self) -> None:
        """Of servers and their volumes, on the hosts and the backend."""
        for host in self.hosts:
            # What os-brick leaves of iSCSI volumes.
            host.run(f'rm -f {brick.LOCKS}/os-brick-'
                     f'connect_to_iscsi_portal-*', shell=True)
            self.assertEqual([], host.call(compute.leftovers))
            self.assertEqual('', host.run(
                'pgrep', '-a', 'qemu-system', check=False).stdout)
            self.assertEqual('', host.run(
                'ls /etc/libvirt/qemu | grep xml; '
                'ls /var/lib/nova/instances | grep -v ^_',
                shell=True, check=False).stdout.replace('compute_nodes', ''))
        self.assertEqual([], self.cloud.volumes.attachments.list())
        for group in ('cinder-vmthunder', 'cinder-lvm'):
            # Cinder removes a volume's lock some time after the volume.
            self.assertWaits(functools.partial(self.is_clean, group))

    def is_clean(self, group: str) -> bool:
        return not self.cloud.storage.call(storage.leftovers, group)

    def assertWaits(self, wanted: typing.Callable[[], bool],
                    timeout: float = 120) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + timeout
        while not wanted():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(1)
