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

"""What Cinder's scheduler is told of a backend.

It is what Cinder's LVM driver says, and some more. That one runs a command
for each thing that it wants to know, though Cinder asks at every deletion;
here all is taken from one list of LVs.
"""

from typing import Any, Iterable

from cinder.volume.drivers import lvm
from oslo_utils import units

from cinder_vmthunder import templates
from cinder_vmthunder import volumegroup

Volumes = list[volumegroup.LogicalVolume]


def of_backend(driver: lvm.LVMVolumeDriver, group: volumegroup.VolumeGroup,
               volumes: Volumes) -> dict[str, Any]:
    """Return what a driver has to say; all of it is one pool.

    :param volumes: all LVs of its group.
    :raises VolumeGroupFailed: the thin pool isn't among them.
    """
    return {
        'volume_backend_name': driver.backend_name,
        'vendor_name': 'VMThunder',
        'driver_version': driver.VERSION,
        'storage_protocol': driver.protocol,
        'shared_targets': False,
        'sparse_copy_volume': True,
        'pools': [{
            'pool_name': driver.backend_name,
            'backend_state': 'up',
            'location_info': _location(driver),
            **_capacity(group.pool_among(volumes), volumes),
            **_policy(driver),
            'QoS_support': False,
            'thin_provisioning_support': True,
            'thick_provisioning_support': False,
            'multiattach': False,
            'online_extend_support': True,
            'vmthunder': True}]}


def provisioned(volumes: Iterable[volumegroup.LogicalVolume]) -> int:
    """Return the bytes that LVs may come to take.

    A template never takes more than it does, and a copy of one to assemble
    a volume with takes nothing.
    """
    return sum(_provisioned(volume) for volume in volumes
               if not volume.is_pool)


def _provisioned(volume: volumegroup.LogicalVolume) -> int:
    template = templates.parse(volume)
    if template:
        return template.used_space
    return 0 if volume.read_only else volume.size


def _location(driver: lvm.LVMVolumeDriver) -> str:
    """Return by what the LVM driver finds backends on the same host."""
    settings = driver.configuration
    return ':'.join(map(str, (
        'LVMVolumeDriver', driver.hostname, settings.volume_group,
        settings.lvm_type, settings.lvm_mirrors)))


def _capacity(pool: volumegroup.LogicalVolume,
              volumes: Volumes) -> dict[str, Any]:
    found = templates.find(volumes)
    total = _in_gib(pool.size)
    return {
        'total_capacity_gb': total,
        'free_capacity_gb': round(total * (1 - pool.used), 2),
        'provisioned_capacity_gb': _in_gib(provisioned(volumes)),
        'total_volumes': len(volumes),
        'vmthunder_templates': len(found),
        'vmthunder_templates_gb': _in_gib(
            sum(template.used_space for template in found))}


def _policy(driver: lvm.LVMVolumeDriver) -> dict[str, Any]:
    """Return what the operator wants the scheduler to do."""
    settings = driver.configuration
    return {
        'reserved_percentage': settings.reserved_percentage,
        'max_over_subscription_ratio': settings.max_over_subscription_ratio,
        'filter_function': driver.get_filter_function(),
        'goodness_function': driver.get_goodness_function()}


def _in_gib(size: int) -> float:
    return round(size / units.Gi, 2)
