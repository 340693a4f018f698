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

"""A boot on one host that another host hears of through Cinder."""

from os_brick_vmthunder import hostprofiles
from tests.functional import agents
from tests.functional import compute
from tests.functional import prefetching
from tests.functional import storage
from tests.functional import volumes_base
from tests import lab

MIB = volumes_base.MIB
# What the guest that is recorded reads, in this order.
BOOT = (range(14, 22), range(2, 10))


class ForetoldTest(volumes_base.VolumesTestCase):

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for host in cls.hosts:
            host.preload('os_brick_vmthunder.hostprofiles')

    def setUp(self) -> None:
        super().setUp()
        for host in self.hosts:
            host.call(compute.configure, prefetch='profile')
            self.addCleanup(host.run, 'rm', '-f',
                            '/etc/vmthunder/vmthunder.conf')
            agent = agents.start(host)
            self.addCleanup(agent.kill)
            self.addCleanup(host.call, prefetching.forget)

    def test_profile_goes_from_host_to_host(self) -> None:
        one, other = self.hosts
        first, second = self.create(1, 1, image=self.qcow2)
        (name,) = self.templates(self.qcow2)
        template_id = name.removeprefix('template-')
        attachment = self.attach(one, first)
        self.assertIsNone(
            attachment.connection_info['data']['template']['profile'])
        one.call(prefetching.boot, attachment.device_path, BOOT)
        self.assertWaits(lambda: bool(one.call(prefetching.recorded,
                                               template_id)))
        # Cinder hears with whatever that host attaches next
        (plain,) = self.create(1, image=self.raw)
        self.detach(self.attach(one, plain))
        self.assertIsNone(one.call(prefetching.recorded, template_id))
        self.assertTrue(self.cloud.storage.call(
            storage.has_profile, volumes_base.GROUP, template_id))

        attachment = self.attach(other, second)
        numbers = [number for group in BOOT for number in group]
        self.assertEqual(
            prefetching.recorded_of(24 * MIB, numbers).to_text(),
            attachment.connection_info['data']['template']['profile'])
        self.assertWaits(lambda: self.is_complete(other, template_id))
        before = other.call(compute.template_bytes)
        other.call(prefetching.boot, attachment.device_path, BOOT, 0.1)
        self.assertLess(other.call(compute.template_bytes) - before,
                        MIB // 4)

    def is_complete(self, host: lab.Host, template_id: str) -> bool:
        progress = host.call(prefetching.progress, template_id)
        return bool(progress and progress.foretold and
                    progress.state == hostprofiles.COMPLETE)
