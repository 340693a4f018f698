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

"""Cinder's own tests of what a driver's interface must be."""

# The driver registers itself when imported, which Cinder's tests look at.
from cinder_vmthunder import driver

from cinder.interface import volume_driver  # noqa: H306
from cinder.interface import volume_manageable_driver as manageable
from cinder.interface import volume_snapshot_revert as reverting
from cinder.interface import volume_snapshotmanagement_driver as snapshots
from cinder.tests.compliance import test_volume_drivers
import ddt


class CindersTest(test_volume_drivers.TestVolumeDrivers):

    def test_driver_is_among_those_tested(self):
        self.assertIn(driver.VMThunderDriver,
                      [found.cls for found in
                       test_volume_drivers.VOLUME_DRIVERS])


@ddt.ddt
class OptionalInterfaceTest(test_volume_drivers.test.TestCase):

    @ddt.data(volume_driver.VolumeDriverCore,
              manageable.VolumeManagementDriver,
              snapshots.VolumeSnapshotManagementDriver,
              manageable.VolumeListManageableDriver,
              reverting.VolumeSnapshotRevertDriver)
    def test_interface(self, interface):
        self.assertTrue(issubclass(driver.VMThunderDriver, interface))
