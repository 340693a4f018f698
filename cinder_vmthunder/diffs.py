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

"""Diffs: the copy-on-write stores of volumes.

A diff is a thin LV with the volume's own name. Its tags name the template
below it and say how the snapshot on it is laid out.
"""

import dataclasses

from os_brick_vmthunder.privileged import blockdev

from cinder_vmthunder import exception
from cinder_vmthunder import volumegroup

SECTOR = 512

_TEMPLATE = 'template'
_TEMPLATE_SIZE = 'template-size'
_CHUNK = 'chunk'
# drivers/md/dm-snap-persistent.c: header first, then areas; an area is one
# chunk of exceptions of 16 bytes and the data chunks they speak of.
_EXCEPTION = 16
_HEADER_CHUNKS = 1


@dataclasses.dataclass(frozen=True)
class Diff:
    """A volume's diff.

    :ivar name: of the LV.
    :ivar template_id: UUID of the template below it.
    :ivar template_size: bytes.
    :ivar chunk_sectors: unit of copy on write, in sectors of 512 bytes.
    """

    name: str
    template_id: str
    template_size: int
    chunk_sectors: int


def store_size(volume_size: int, chunk: int) -> int:
    """Return the bytes in which a snapshot of a whole volume fits.

    :param volume_size: bytes.
    :param chunk: bytes.
    """
    data = -(-volume_size // chunk)
    per_area = chunk // _EXCEPTION
    # The kernel clears the next area as soon as one is full.
    areas = data // per_area + 1
    return (_HEADER_CHUNKS + areas + data) * chunk


def parse(volume: volumegroup.LogicalVolume) -> Diff | None:
    """Return the diff that an LV is, or None if it is something else."""
    if _TEMPLATE not in volume.tags:
        return None
    return Diff(name=volume.name,
                template_id=volume.tags[_TEMPLATE],
                template_size=int(volume.tags[_TEMPLATE_SIZE]),
                chunk_sectors=int(volume.tags[_CHUNK]))


class Diffs:
    """The diffs of a volume group.

    :param group: the volume group.
    """

    def __init__(self, group: volumegroup.VolumeGroup) -> None:
        self._group = group

    def get(self, name: str) -> Diff | None:
        """Return a volume's diff, or None for a plain or missing volume.

        :param name: of the volume.
        """
        volume = self._group.get(name)
        return parse(volume) if volume else None

    def create(self, name: str, volume_size: int, template_id: str,
               template_size: int, chunk_sectors: int) -> Diff:
        """Make a volume's LV; the template must be held meanwhile.

        One that is there already is from an attempt that was cut before
        anyone could attach the volume: it is made again.

        :param volume_size: bytes.
        :param template_size: bytes.
        """
        size = store_size(volume_size, chunk_sectors * SECTOR)
        extent = self._group.extent_size
        size = -(-size // extent) * extent
        tags = {_TEMPLATE: template_id, _TEMPLATE_SIZE: str(template_size),
                _CHUNK: str(chunk_sectors)}
        try:
            self._group.create(name, size, tags)
        except exception.VolumeGroupFailed:
            if not self.get(name):
                raise
            self._group.delete(name)
            self._group.create(name, size, tags)
        return Diff(name, template_id, template_size, chunk_sectors)

    def clear(self, diff: Diff) -> None:
        """Zero the first chunk, where a stale header would be believed."""
        blockdev.zero(self._group.activate(diff.name),
                      diff.chunk_sectors * SECTOR)

    def delete(self, diff: Diff) -> None:
        self._group.delete(diff.name)
