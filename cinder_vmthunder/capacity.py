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

"""How much of a thin pool has been promised."""

from typing import Iterable

from cinder_vmthunder import templates
from cinder_vmthunder import volumegroup


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
