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

"""The Cinder driver on real LVM and LIO, without Cinder around it."""

import concurrent.futures
import uuid

from cinder import exception as cinder_exception

from cinder_vmthunder import exception
from os_brick_vmthunder import connection
from os_brick_vmthunder import exceptionstore
from tests.functional import base
from tests.functional import initiator
from tests.functional import steps
from tests.functional import test_lio
from tests.functional import volumes
from tests import lab

MIB = 1 << 20
SIZE = 66 * MIB - 512  # not a whole number of extents
LV_SIZE = 68 * MIB
A = {'initiator': 'iqn.1993-08.org.debian:01:a', 'host': 'host-a',
     'vmthunder': {'version': connection.VERSION,
                   'modes': ['dm', 'vmm']}}
B = dict(A, initiator='iqn.1993-08.org.debian:01:b', host='host-b')


class TemplatesTestCase(base.FunctionalTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.storage = base.get_host(test_lio.STORAGE)
        cls.storage.preload(*volumes.MODULES)
        cls.call(volumes.prepare, cls.storage.disk('pv'))

    @classmethod
    def call(cls, function, *args, **keywords):
        return cls.storage.call(function, *args, timeout=200, **keywords)

    def setUp(self):
        super().setUp()
        self.image = f'image-{uuid.uuid4()}'
        self.digest = self.call(volumes.add_image, self.image, 'qcow2', SIZE)

    def tearDown(self):
        for name in self.call(volumes.volumes):
            if name.startswith('volume-'):
                self.delete(name.removeprefix('volume-'))
        self.call(volumes.tidy_up, vmthunder_template_retention=0)
        self.assertEqual({}, self.call(volumes.volumes))
        self.assertEqual([], self.call(volumes.lio_objects))
        self.assertEqual([], self.call(volumes.remains))
        super().tearDown()

    def create(self, image=None, volume=None, **options):
        volume = volume or str(uuid.uuid4())
        self.assertTrue(self.call(volumes.create, volume,
                                  image or self.image, **options))
        return volume

    def delete(self, volume, **options):
        self.call(volumes.delete, volume, **options)

    def templates(self):
        return [found for name, found in self.call(volumes.volumes).items()
                if name.startswith('template-')]

    def assertTemplate(self):
        (template,) = self.templates()
        self.assertEqual('ready', template['tags']['state'])
        self.assertTrue(template['read_only'])
        self.assertEqual(self.digest, self.call(
            volumes.digest, template['path'], SIZE))
        return template


class ImportTest(TemplatesTestCase):

    def test_qcow2(self):
        volume = self.create()
        template = self.assertTemplate()
        self.assertEqual(LV_SIZE, template['size'])
        # two MiB are data, the rest is zeroes, some of them written out
        self.assertLess(template['used'] * LV_SIZE, 3 * MIB)
        diff = self.call(volumes.volumes)[f'volume-{volume}']
        self.assertGreaterEqual(diff['size'], exceptionstore.store_size(
            1 << 30, 8192))
        self.assertEqual(bytes(8192),
                         self.call(volumes.read, diff['path'], 8192))
        self.assertEqual([], self.call(volumes.remains))

    def test_raw(self):
        self.digest = self.call(volumes.add_image, self.image, 'raw', SIZE)
        self.create()
        self.assertTemplate()

    def test_who_asks_at_once_waits(self):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            made = set(pool.map(lambda _: self.create(), range(4)))
        self.assertEqual(1, self.call(volumes.downloads, self.image))
        self.assertEqual(4, len(made))
        self.assertTemplate()

    def test_killed_after_any_step(self):
        number = steps.first()
        while True:
            volume = str(uuid.uuid4())
            try:
                done = self.call(volumes.create_killed, number, volume,
                                 self.image)
                break
            except lab.CallKilled:
                number += steps.STRIDE
            made = self.call(volumes.make_again, volume, self.image, SIZE)
            (template,) = made.templates
            self.assertEqual('ready', template['tags']['state'])
            self.assertTrue(template['read_only'])
            self.assertEqual([self.digest], made.digests)
            self.assertEqual([], made.left)
        self.assertGreater(len(done), 10, done)

    def test_image_larger_than_the_volume(self):
        self.call(volumes.add_image, self.image, 'qcow2', (1 << 30) + 512)
        with self.assertRaises(cinder_exception.ImageUnacceptable) as caught:
            self.create()
        self.assertIn("doesn't fit", caught.exception.msg)
        self.assertEqual({}, self.call(volumes.volumes))
        self.assertEqual([], self.call(volumes.remains))

    def test_other_format_than_glance_says(self):
        self.call(volumes.add_image, self.image, 'qcow2', SIZE,
                  disk_format='raw')
        with self.assertRaises(cinder_exception.ImageUnacceptable):
            self.create()
        self.assertEqual({}, self.call(volumes.volumes))
        self.assertEqual([], self.call(volumes.remains))


class RetentionTest(TemplatesTestCase):

    def test_kept_and_used_again(self):
        self.delete(self.create())
        self.call(volumes.tidy_up)
        (template,) = self.templates()
        self.assertIn('unused', template['tags'])
        self.create()
        self.assertEqual(1, self.call(volumes.downloads, self.image))
        self.assertNotIn('unused', self.assertTemplate()['tags'])

    def test_statistics_remove_what_is_overdue(self):
        volume = self.create()
        stats = self.call(volumes.statistics)
        self.assertEqual(1, stats['pools'][0]['vmthunder_templates'])
        self.delete(volume)
        self.call(volumes.tidy_up)
        self.storage.run('sleep', '2')
        self.call(volumes.statistics, vmthunder_template_retention=1)
        self.assertEqual([], self.templates())

    def test_gone_with_the_last_volume(self):
        one, two = self.create(), self.create()
        self.delete(one, vmthunder_template_retention=0)
        self.assertTemplate()
        self.delete(two, vmthunder_template_retention=0)
        self.assertEqual([], self.templates())

    def test_dropped_by_the_operator(self):
        manage = ('python', '-c', 'import sys\n'
                  'from cinder_vmthunder.cmd import manage\n'
                  'sys.exit(manage.main())',
                  '--volume-group', volumes.GROUP, 'template')
        volume = self.create()
        self.storage.run(*manage, 'drop', self.image)
        listed = self.storage.run(*manage, 'list').stdout
        self.assertIn('in use to be dropped', listed)
        self.call(volumes.tidy_up)
        self.assertTemplate()
        self.delete(volume)
        self.call(volumes.tidy_up)
        self.assertEqual([], self.templates())


class StatisticsTest(TemplatesTestCase):

    def test_they_are_as_lvms(self):
        self.create()
        (template,) = self.templates()
        ours, lvms = self.call(volumes.statistics_of_both, str(uuid.uuid4()))
        (pool,), (lvms_pool,) = ours.pop('pools'), lvms.pop('pools')

        self.assertEqual('VMThunder', ours.pop('vendor_name'))
        self.assertEqual('Open Source', lvms.pop('vendor_name'))
        self.assertEqual(lvms, ours)

        # LVM counts what a template could take if it could be written
        extra = (lvms_pool.pop('provisioned_capacity_gb') -
                 pool.pop('provisioned_capacity_gb'))
        self.assertAlmostEqual(
            template['size'] * (1 - template['used']) / (1 << 30),
            extra, delta=0.02)
        self.assertEqual((False, True), (pool.pop('multiattach'),
                                         lvms_pool.pop('multiattach')))
        self.assertEqual(
            {'vmthunder': True, 'online_extend_support': True,
             'vmthunder_templates': 1, 'vmthunder_templates_gb': 0.0},
            {name: pool.pop(name) for name in set(pool) - set(lvms_pool)})
        self.assertEqual(lvms_pool, pool)
        self.assertEqual(4, pool['total_volumes'])


class AttachTest(TemplatesTestCase):

    def test_attach_and_detach(self):
        one, two = self.create(), self.create()
        contract = connection.Connection.from_dict(
            self.call(volumes.attach, one, A)['data'])
        self.assertEqual(LV_SIZE, contract.template.size)
        self.call(volumes.attach, two, B)
        self.assertEqual(6, len(self.call(volumes.lio_objects)))
        with self.assertRaises(exception.AttachedElsewhere) as caught:
            self.call(volumes.attach, one, B)
        self.assertIn(A['initiator'], caught.exception.msg)
        self.call(volumes.detach, one, A)
        self.assertEqual(4, len(self.call(volumes.lio_objects)))
        self.call(volumes.attach, one, B)
        self.call(volumes.detach, one, B)
        self.call(volumes.detach, two, None)
        self.assertEqual([], self.call(volumes.lio_objects))

    def test_exports_come_back_after_a_power_cut(self):
        client = base.get_host(test_lio.CLIENT)
        connector = dict(A, initiator=client.call(initiator.name))
        volume = self.create()
        contract = connection.Connection.from_dict(
            self.call(volumes.attach, volume, connector)['data'])
        # what stands for Cinder's database isn't as careful as that is
        self.storage.run('sync', '-f', str(volumes.STATE))
        self.storage.power_off()
        self.storage.power_on()
        self.assertEqual([], self.call(volumes.lio_objects))
        self.call(volumes.restart, volume, connector)
        for lun in (contract.template, contract.diff):
            for path in lun.paths:
                disk = client.call(initiator.login, path.portal, path.iqn,
                                   lun.chap.username, lun.chap.password)
                self.assertEqual(lun.wwid, client.call(
                    initiator.inquiry, disk)['wwid'])
                client.call(initiator.logout, path.iqn)
        self.call(volumes.detach, volume, connector)

    def test_blank_volume_is_an_lvm_volume(self):
        volume = str(uuid.uuid4())
        self.call(volumes.create_blank, volume)
        self.assertEqual(1 << 30, self.call(volumes.volumes)[
            f'volume-{volume}']['size'])
        info = self.call(volumes.attach_plain, volume,
                         {'initiator': A['initiator'], 'host': 'host-a'})
        self.assertEqual('iscsi', info['driver_volume_type'])
        self.assertEqual(2, len(info['there']))
        self.assertEqual({}, self.call(volumes.volumes))


class SetupTest(TemplatesTestCase):

    def test_group_without_thin_pool(self):
        self.storage.run(
            'truncate -s 64M /var/tmp/pv && losetup -f --show /var/tmp/pv '
            '| xargs vgcreate -qq packed && lvcreate -qq -l 100%FREE -n all '
            'packed', shell=True)
        self.addCleanup(
            self.storage.run, 'vgremove -qq -y packed; losetup -j /var/tmp/pv '
            '-n -O NAME | xargs losetup -d; rm /var/tmp/pv', shell=True)
        for lvm_type in ('thin', 'auto'):
            with self.assertRaises(exception.BackendNotReady) as caught:
                self.call(volumes.make_driver, True, volume_group='packed',
                          lvm_type=lvm_type)
            self.assertIn('packed-pool', caught.exception.msg)
        with self.assertRaises(exception.BackendNotReady) as caught:
            self.call(volumes.make_driver, True, volume_group='absent')
        self.assertIn('absent', caught.exception.msg)
