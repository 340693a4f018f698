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

"""Goes on past a cache that fails.

When its device fails, bcache gives up the whole set and refuses what is asked
meanwhile. Guests and children must not see that, so it is asked of the
source instead, from then on until the template is attached anew:

    bcacheN, else what it caches -> dm-multipath
"""

from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import sysfs


def assemble(template_id: str, cached: str, source: str, size: int) -> str:
    """Put it together, or find it.

    :param cached: path of the device to read from.
    :param source: path of the one to read from if that fails; it has the
        same bytes.
    :param size: bytes of them.
    :returns: path of a read-only device with the same bytes.
    :raises DeviceMapperError: the kernel refuses it.
    """
    return dm.create(
        _name(template_id), f'VMTHUNDER-failover-{template_id}',
        [dm.Failover(0, size // sysfs.SECTOR, (cached, source))],
        readonly=True)


def disassemble(template_id: str) -> None:
    """Take it apart; it is all right if it isn't there.

    :raises DeviceBusy: something uses it.
    """
    dm.remove(_name(template_id))


def _name(template_id: str) -> str:
    return f'vmthunder-failover-{template_id}'
