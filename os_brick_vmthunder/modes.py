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

"""The snapshot modes that this process can attach volumes in.

What a volume in ``vmm`` mode looks like on its host are bytes of qcow2: only
a process that hands them to a hypervisor as what they are may attach one.
Everybody else who uses os-brick would take them for a disk.
"""

from os_brick_vmthunder import connection
from os_brick_vmthunder import exception

_offered = {connection.SnapshotMode.DM}


def offer(mode: connection.SnapshotMode) -> None:
    """Have this process attach volumes of a mode, from now on."""
    _offered.add(mode)


def offered() -> tuple[connection.SnapshotMode, ...]:
    """Return the modes that this process attaches volumes in."""
    return tuple(mode for mode in connection.SnapshotMode
                 if mode in _offered)


def check(volume: connection.Connection) -> None:
    """Refuse a volume that this process could not use.

    :raises ModeNotOffered: its mode is none of those offered.
    """
    if volume.mode not in _offered:
        raise exception.ModeNotOffered(volume=volume.volume_id,
                                       mode=volume.mode.value)
