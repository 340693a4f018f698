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

"""What a volume's type says about it."""

from typing import Any, Mapping

from cinder.volume import volume_types
from os_brick_vmthunder import connection

from cinder_vmthunder import exception

#: The extra spec that chooses who makes the writable snapshot.
SNAPSHOT_MODE = 'vmthunder:snapshot_mode'


def mode_of(volume: Any) -> connection.SnapshotMode:
    """Return the snapshot mode for a new volume.

    :raises InvalidSnapshotMode: its type asks for something else.
    """
    return snapshot_mode(_extra_specs(volume.volume_type_id))


def snapshot_mode(extra_specs: Mapping[str, str]) -> connection.SnapshotMode:
    """Return the snapshot mode that extra specs choose.

    :raises InvalidSnapshotMode: there is no such mode.
    """
    value = extra_specs.get(SNAPSHOT_MODE, connection.SnapshotMode.DM.value)
    try:
        return connection.SnapshotMode(value)
    except ValueError:
        raise exception.InvalidSnapshotMode(
            spec=SNAPSHOT_MODE, value=value,
            modes=', '.join(mode.value for mode in connection.SnapshotMode))


def _extra_specs(type_id: str | None) -> Mapping[str, str]:
    return volume_types.get_volume_type_extra_specs(type_id) \
        if type_id else {}
