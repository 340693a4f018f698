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

"""LVs that are to become, or could become, volumes and snapshots of Cinder.

Those that were such before keep their tags, and so what they are.
"""

from typing import Any

from cinder import exception
from oslo_utils import units

from cinder_vmthunder import diffs
from cinder_vmthunder.i18n import _
from cinder_vmthunder import volumegroup

_SNAPSHOT = '_snapshot'  # as the LVM driver names them


def size(volume: volumegroup.LogicalVolume,
         existing_ref: dict[str, Any]) -> int:
    """Return the size of the volume that an LV with tags of ours holds.

    :returns: GiB.
    :raises ManageExistingInvalidReference: it holds none.
    """
    diff = _diff(volume)
    if diff is None:
        raise exception.ManageExistingInvalidReference(
            existing_ref=existing_ref,
            reason=_('the LV is a part of other volumes, made by '
                     'VMThunder.'))
    return diff.volume_size // units.Gi


def review(entries: list[dict[str, Any]],
           volumes: list[volumegroup.LogicalVolume]) -> list[dict[str, Any]]:
    """Correct what the LVM driver says of LVs with tags of ours."""
    ours = {volume.name: volume for volume in volumes if volume.tags}
    for entry in entries:
        volume = ours.get(entry['reference']['source-name'])
        if not volume:
            continue
        diff = _diff(volume)
        if diff:
            entry['size'] = diff.volume_size // units.Gi
        if not diff or diff.name.startswith(_SNAPSHOT):
            entry.update(safe_to_manage=False,
                         reason_not_safe=_('used by VMThunder'))
    return entries


def _diff(volume: volumegroup.LogicalVolume) -> diffs.Diff | None:
    diff = diffs.parse(volume)
    return None if diff and diff.is_temporary else diff
