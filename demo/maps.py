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

"""The multipath map of a template; this runs in the host."""

from __future__ import annotations

import dataclasses

from os_brick_vmthunder import sysfs

# What INQUIRY says of a template's disk, on the storage host and on a relay.
_MODELS = ('template', 'relay')


@dataclasses.dataclass(frozen=True)
class Map:
    """One life of a template's map.

    :ivar kernel: the kernel's name of it, as 'dm-3'.
    :ivar name: its name in device-mapper.
    :ivar sectors: its size.
    :ivar sequence: a number that no other disk gets while the host is up.
    """

    kernel: str
    name: str
    sectors: int
    sequence: int


def find() -> Map | None:
    """Return the map of the template that is attached; here it is but one.
    """
    for kernel in sysfs.names('dm-'):
        uuid = sysfs.attribute(kernel, 'dm', 'uuid') or ''
        if uuid.startswith('mpath-') and _is_template(kernel):
            sectors = int(sysfs.attribute(kernel, 'size') or 0)
            name = sysfs.attribute(kernel, 'dm', 'name')
            sequence = sysfs.attribute(kernel, 'diskseq')
            # It is half made, or just going, where something is missing.
            if sectors and name and sequence:
                return Map(kernel, name, sectors, int(sequence))
    return None


def _is_template(kernel: str) -> bool:
    return any(sysfs.attribute(disk, 'device', 'model') in _MODELS
               for disk in sysfs.listing(kernel, 'slaves'))
