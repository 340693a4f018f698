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

"""A thin pool that runs full under volumes that are written to."""

import concurrent.futures
import uuid

from tests.functional import base
from tests.functional import compute
from tests.functional import content
from tests.functional import initiator
from tests.functional import operations
from tests.functional import test_host_stack
from tests.functional import test_lio
from tests.functional import test_templates
from tests.functional import volumes
from tests import lab
from tests.lab import brick

MIB = 1 << 20
SIZE = 20 * MIB
TEXT = b'written ' * 50
STORAGE = lab.HostSpec('full', 75, memory=512, disks={'pv': 1 << 30},
                       extra_addresses=(76,), services=())
OPTIONS = {'target_ip_address': '10.77.0.75',
           'target_secondary_ip_addresses': '10.77.0.76'}
POOL = f'{volumes.GROUP}/{volumes.GROUP}-pool'
EXTENTS = '12'  # of 4 MiB
# These MiB of volumes are filled, more than the pool has. They are not among
# those that ``content.differences`` looks at.
FIRST, LAST = 129, 191


class FullPoolTest(base.FunctionalTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.storage = base.get_host(STORAGE)
        cls.storage.preload(*volumes.MODULES, 'tests.functional.operations')
        cls.storage.call(volumes.prepare, cls.storage.disk('pv'), EXTENTS)
        # instead of a minute
        cls.storage.run('echo 2 > /sys/module/dm_thin_pool/parameters/'
                        'no_space_timeout', shell=True)
        cls.client = base.get_host(test_lio.CLIENT)
        cls.compute = base.get_host(test_host_stack.COMPUTE[0])
        cls.compute.preload(*brick.MODULES)

    def setUp(self):
        super().setUp()
        self.image = f'image-{uuid.uuid4()}'
        self.storage.call(volumes.add_image, self.image, 'raw', SIZE)

    def run_here(self, name, *args):
        return self.storage.call(operations.run, name, *args, timeout=200,
                                 **OPTIONS)

    def create(self):
        volume = str(uuid.uuid4())
        self.run_here('create', volume, self.image)
        return volume

    def connector(self, host):
        return {'host': host.name, 'initiator': host.call(initiator.name)}

    def log_in(self, volume):
        """Attach a volume to the host that knows nothing of VMThunder."""
        data = self.run_here('attach', volume,
                             self.connector(self.client))['data']
        self.addCleanup(self.client.call, initiator.logout,
                        data['target_iqn'])
        return self.client.call(
            initiator.login, data['target_portal'], data['target_iqn'],
            data['auth_username'], data['auth_password'])

    def log_out(self, volume):
        self.client.call(initiator.logout,
                         f'iqn.2010-10.org.openstack:volume-{volume}')
        self.run_here('detach', volume, self.connector(self.client))

    def assertHolds(self, host, disk):
        # each read may wait until multipathd next looks at a path that a
        # write has failed
        self.assertEqual([], host.call(
            content.differences, disk,
            content.Content(self.image, SIZE, text=TEXT), timeout=400))

    def assertFilled(self, host, disk, last):
        self.assertEqual([], host.call(content.unfilled, disk, FIRST, last,
                                       timeout=200))

    def header(self, volume):
        """Return the magic number of a store, and whether it is valid."""
        return self.storage.run(
            'od', '-An', '-tx4', '-N8',
            f'/dev/{volumes.GROUP}/volume-{volume}').stdout.split()

    def test_what_was_acknowledged_is_there(self):
        bystander, plain, queueing = (self.create() for _ in range(3))
        bystander_disk, disk = self.log_in(bystander), self.log_in(plain)
        connector = dict(self.connector(self.compute),
                         vmthunder=test_templates.A['vmthunder'])
        data = self.run_here('attach', queueing, connector)['data']
        device = self.compute.call(compute.connect, data, timeout=180)
        for host, path in ((self.client, bystander_disk),
                           (self.client, disk), (self.compute, device)):
            host.call(content.write, path, TEXT)

        with concurrent.futures.ThreadPoolExecutor() as pool:
            filling = pool.submit(self.compute.call, content.fill, device,
                                  FIRST, LAST, timeout=900)
            written = self.client.call(content.fill, disk, FIRST, LAST,
                                       timeout=200)
            self.assertLess(written, LAST)
            self.assertIn('out_of_data_space', self.storage.run(
                'dmsetup', 'status', 'vg-vg--pool-tpool').stdout)
            # the kernel gave up what it could not write
            self.assertFalse(self.client.call(initiator.reads, disk))
            # other volumes, and the hosts that have them, are all right
            self.assertHolds(self.client, bystander_disk)
            self.assertHolds(self.compute, device)
            self.assertFalse(filling.done())

            self.storage.run('lvextend', '-qq', '-L', '+400m', POOL)
            self.assertEqual(LAST, filling.result())
        self.assertFilled(self.compute, device, LAST)
        self.assertHolds(self.compute, device)
        self.assertHolds(self.client, bystander_disk)

        self.log_out(plain)
        self.assertEqual(['70416e53', '00000000'], self.header(plain))
        disk = self.log_in(plain)
        self.assertEqual(['70416e53', '00000001'], self.header(plain))
        self.assertFilled(self.client, disk, written)
        self.assertHolds(self.client, disk)
        self.assertEqual(LAST, self.client.call(
            content.fill, disk, written, LAST, timeout=200))
        self.assertFilled(self.client, disk, LAST)

        self.log_out(plain)
        self.log_out(bystander)
        self.compute.call(compute.disconnect, data, timeout=180)
        self.assertEqual([], self.compute.call(compute.leftovers))
        self.run_here('detach', queueing, connector)
        for volume in (bystander, plain, queueing):
            self.run_here('delete', volume)
        self.assertEqual([], self.storage.call(operations.leftovers))
