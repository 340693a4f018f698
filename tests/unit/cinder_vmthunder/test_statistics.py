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

"""Tests of what the scheduler is told."""

import types

from cinder.volume.drivers import lvm

from cinder_vmthunder import exception
from cinder_vmthunder import statistics
from tests.unit.cinder_vmthunder import fakes
from tests.unit.cinder_vmthunder import test_driver

MIB, GIB = 1 << 20, 1 << 30
OURS = {'vmthunder', 'vmthunder_templates', 'vmthunder_templates_gb',
        'online_extend_support'}


class StatisticsTest(test_driver.DriverTestCase):

    def setUp(self):
        super().setUp()
        self.driver = self.make(
            volume_backend_name='gold', reserved_percentage=10,
            filter_function='true', goodness_function='50')
        self.driver._group.create('plain', 3 * GIB, {})
        self.lvm.used['plain'] = 2 * GIB

    def update(self):
        return statistics.of_backend(self.driver, self.driver._group,
                                     self.driver._group.volumes())

    def pool(self):
        return self.update()['pools'][0]

    def of_lvm(self):
        """Return what Cinder's LVM driver would say."""
        self.driver._sparse_copy_volume = True
        self.driver.vg = types.SimpleNamespace(
            update_volume_group_info=lambda: None, vg_thin_pool_size=10.0,
            vg_thin_pool_free_space=8.0, vg_provisioned_capacity=3.0,
            get_volumes=lambda: ['vg-pool', 'plain'])
        lvm.LVMVolumeDriver._update_volume_stats(self.driver)
        return self.driver._stats

    def test_plain_volumes_count_as_with_lvm(self):
        ours, wanted = self.update(), self.of_lvm()
        wanted['vendor_name'] = 'VMThunder'
        (pool,), (wanted_pool,) = ours.pop('pools'), wanted.pop('pools')
        self.assertEqual(wanted, ours)
        self.assertEqual(set(wanted_pool) | OURS, set(pool))
        wanted_pool['multiattach'] = False
        self.assertEqual(wanted_pool, {
            name: value for name, value in pool.items() if name not in OURS})
        self.assertEqual(('true', '50'), (pool['filter_function'],
                                          pool['goodness_function']))

    def test_templates(self):
        self.create()
        self.lvm.used[self.template().name] = 50 * MIB
        self.assertEqual((1, 0.05, True), (
            self.pool()['vmthunder_templates'],
            self.pool()['vmthunder_templates_gb'],
            self.pool()['vmthunder']))

    def test_provisioned_is_what_may_come_to_be_taken(self):
        self.create()
        self.lvm.used[self.template().name] = 50 * MIB
        with self.driver._assemblies.view(
                self.driver._diff(f'volume-{fakes.VOLUME}')):
            listed = self.driver._group.volumes()
        diff = self.lvm.volumes[f'volume-{fakes.VOLUME}'][0]
        self.assertEqual(50 * MIB + 3 * GIB + 2 * diff,
                         statistics.provisioned(listed))

    def test_full_pool(self):
        self.lvm.used['plain'] = self.lvm.pool_size
        self.assertEqual((10, 0), (self.pool()['total_capacity_gb'],
                                   self.pool()['free_capacity_gb']))

    def test_pool_that_is_gone(self):
        volumes = [volume for volume in self.driver._group.volumes()
                   if not volume.is_pool]
        with self.assertRaises(exception.VolumeGroupFailed) as caught:
            statistics.of_backend(self.driver, self.driver._group, volumes)
        self.assertIn('vg/vg-pool', caught.exception.msg)
