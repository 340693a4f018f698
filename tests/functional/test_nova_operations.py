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


"""What Nova does with servers that boot from our volumes.

Whatever happens, a server has on its disk what it wrote before: its diary,
which names each boot, and the random data that are its mark.
"""

import ddt

from tests.functional import compute
from tests.functional import nova_base
from tests import lab
from tests.lab import guestlog

GIB = 1 << 30

STAYING = 'vmthunder'
TYPES = (STAYING, nova_base.MOVABLE)


@ddt.ddt
class OperationsTest(nova_base.NovaTestCase):
    """All begin with a server on the first host."""

    def setUp(self) -> None:
        super().setUp()
        self.first, self.second = self.hosts

    def boot(self, volume_type: str) -> tuple[str, guestlog.Guest]:
        """Make a server on the first host, and see it serve."""
        server = self.create(self.first, volume_type)
        self.servers.wait(server)
        return server, self.assertServes(server)

    def assertMoved(self, server: str, host: lab.Host, boots: int,
                    before: guestlog.Guest) -> None:
        """A server is on a host now, with its disk, and on no other."""
        self.assertEqual(host.name, self.servers.host(server))
        guest = self.assertServes(server, boots)
        self.assertEqual(before.mark, guest.mark)
        for other in self.hosts:
            if other is not host:
                self.assertEqual([], other.call(compute.leftovers))

    def bring_back(self) -> None:
        """Have the first host run again, for Nova too."""
        if not self.first.alive:
            self.first.power_on()
            self.cloud.nova.restart(self.first)
            # Nova wants the host to know first what left it.
            self.servers.force_down(self.first.name, False)

    @ddt.data(*TYPES)
    def test_cold_migration_and_resize(self, volume_type: str) -> None:
        server, before = self.boot(volume_type)
        self.servers.migrate(server, self.second.name)
        self.assertMoved(server, self.second, 2, before)
        # The same host is none for Nova, where it has a choice.
        self.servers.resize(server, nova_base.get_flavor(112))
        self.assertMoved(server, self.first, 3, before)
        self.delete(server)
        self.assertNothingLeft()

    @ddt.data(*TYPES)
    def test_shelve_and_unshelve(self, volume_type: str) -> None:
        server, before = self.boot(volume_type)
        self.servers.shelve(server)
        self.assertEqual([], self.first.call(compute.leftovers))
        self.servers.unshelve(server, self.second.name)
        self.assertMoved(server, self.second, 2, before)
        self.delete(server)
        self.assertNothingLeft()

    @ddt.data(*TYPES)
    def test_rebuild(self, volume_type: str) -> None:
        """Of what was on the disk, nothing is left."""
        server, before = self.boot(volume_type)
        self.servers.rebuild(server, self.image)
        guest = self.assertServes(server)
        self.assertNotEqual(before.mark, guest.mark)
        self.delete(server)
        self.assertNothingLeft()

    @ddt.data(*TYPES)
    def test_extend(self, volume_type: str) -> None:
        server, before = self.boot(volume_type)
        (volume,) = self.servers.volumes(server)
        self.extend(volume, 2)
        # The guest that runs sees it, by itself.
        self.assertWaits(lambda: self.assertServes(
            server).size == 2 * GIB)
        self.servers.reboot_hard(server)
        guest = self.assertServes(server, 2)
        self.assertEqual((before.mark, 2 * GIB), (guest.mark, guest.size))
        self.servers.stop(server)
        self.extend(volume, 3)
        self.servers.start(server)
        guest = self.assertServes(server, 3)
        self.assertEqual((before.mark, 3 * GIB), (guest.mark, guest.size))
        self.delete(server)
        self.assertNothingLeft()

    def extend(self, volume: str, size: int) -> None:
        self.cloud.volumes.volumes.extend(volume, size)
        self.assertWaits(lambda: self.cloud.wait_for_volume(
            volume, 'in-use').size == size)

    @ddt.data(*TYPES)
    def test_host_loses_power(self, volume_type: str) -> None:
        server, before = self.boot(volume_type)
        self.addCleanup(self.bring_back)
        self.first.power_off()
        self.bring_back()
        self.servers.wait(server)
        self.assertMoved(server, self.first, 2, before)
        self.delete(server)
        self.assertNothingLeft()

    @ddt.data(*TYPES)
    def test_evacuate(self, volume_type: str) -> None:
        server, before = self.boot(volume_type)
        self.addCleanup(self.bring_back)
        self.first.power_off()
        self.servers.force_down(self.first.name, True)
        self.servers.evacuate(server, self.second.name)
        self.assertEqual(self.second.name, self.servers.host(server))
        guest = self.assertServes(server, 2)
        self.assertEqual(before.mark, guest.mark)
        # The host comes back, and sees that it has no server any more.
        self.bring_back()
        self.assertMoved(server, self.second, 2, before)
        self.delete(server)
        self.assertNothingLeft()

    def test_live_migration(self) -> None:
        """There and back; the guest only sees that time goes by."""
        server, guest = self.boot(nova_base.MOVABLE)
        mark = guest.mark
        for host in (self.second, self.first):
            self.assertEqual('completed', self.servers.live_migrate(
                server, host.name))
            self.assertEqual(host.name, self.servers.host(server))
            guest = self.assertGoesOn(server, guest)
            for other in self.hosts:
                if other is not host:
                    self.assertEqual([], other.call(compute.leftovers))
        # What it wrote on either host is on its disk.
        self.servers.reboot_hard(server)
        self.assertEqual(mark, self.assertServes(server, 2).mark)
        self.delete(server)
        self.assertNothingLeft()

    def test_live_migration_is_refused(self) -> None:
        """The server stays and doesn't notice."""
        server, before = self.boot(STAYING)
        self.assertEqual('failed', self.servers.live_migrate(
            server, self.second.name))
        self.assertMoved(server, self.first, 1, before)
        self.assertGoesOn(server, before)
        # Cinder keeps the attempt, which Nova doesn't know any more: an
        # operator's to take away, or the volume outlives its server.
        (volume,) = self.servers.volumes(server)
        rows = {row.status: row for row in
                self.cloud.volumes.attachments.list(
                    search_opts={'volume_id': volume})}
        self.assertEqual({'attached', 'reserved'}, set(rows))
        self.cloud.terminate(rows['reserved'].id)
        self.delete(server)
        self.assertNothingLeft()
