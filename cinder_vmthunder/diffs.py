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

import contextlib
import dataclasses
from typing import Callable, Iterator

from os_brick_vmthunder import connection
from os_brick_vmthunder.privileged import blockdev
from oslo_concurrency import processutils
from oslo_log import log as logging

from cinder_vmthunder import exception
from cinder_vmthunder import locks
from cinder_vmthunder import stores
from cinder_vmthunder import volumegroup

LOG = logging.getLogger(__name__)

SECTOR = 512

_TEMPLATE = 'template'
_TEMPLATE_SIZE = 'template-size'
_CHUNK = 'chunk'
_MODE = 'mode'
# What the names of LVs begin with that live as long as an operation: one
# that is to take the place of another, whose name follows, and a copy to look
# at.
_REPLACEMENT = 'replacement-'
VIEW = 'view-'


@dataclasses.dataclass(frozen=True)
class Diff:
    """A volume's diff, or a snapshot of one.

    :ivar name: of the LV.
    :ivar template_id: UUID of the template below it.
    :ivar template_size: bytes.
    :ivar chunk_sectors: unit of copy on write, in sectors of 512 bytes.
    :ivar volume_size: bytes of the volume that it has room for.
    :ivar mode: who makes the snapshot.
    """

    name: str
    template_id: str
    template_size: int
    chunk_sectors: int
    volume_size: int
    mode: connection.SnapshotMode = connection.SnapshotMode.DM

    @property
    def chunk(self) -> int:
        """Bytes."""
        return self.chunk_sectors * SECTOR

    @property
    def store(self) -> stores.Store:
        """What its LV holds."""
        return stores.BY_MODE[self.mode]

    @property
    def is_temporary(self) -> bool:
        """Whether an operation made it for itself."""
        return self.name.startswith((_REPLACEMENT, VIEW))

    @property
    def tags(self) -> dict[str, str]:
        """What makes an LV this diff."""
        return {_TEMPLATE: self.template_id,
                _TEMPLATE_SIZE: str(self.template_size),
                _CHUNK: str(self.chunk_sectors),
                _MODE: self.mode.value}


def parse(volume: volumegroup.LogicalVolume) -> Diff | None:
    """Return the diff that an LV is, or None if it is something else."""
    if _TEMPLATE not in volume.tags:
        return None
    chunk = int(volume.tags[_CHUNK])
    # There was one mode, and no tag of it, in the first release.
    mode = connection.SnapshotMode(volume.tags.get(
        _MODE, connection.SnapshotMode.DM.value))
    return Diff(name=volume.name,
                template_id=volume.tags[_TEMPLATE],
                template_size=int(volume.tags[_TEMPLATE_SIZE]),
                chunk_sectors=chunk,
                volume_size=stores.BY_MODE[mode].volume_size(
                    volume.size, chunk * SECTOR),
                mode=mode)


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
        if volume is None:
            volume = self._finish_replacing(name)
        return parse(volume) if volume else None

    def create(self, diff: Diff) -> None:
        """Make a diff's LV; its template must be held meanwhile.

        One that is there already is from an attempt that was cut before
        anyone could attach the volume: it is made again.
        """
        size = self._size(diff)
        self._make(diff.name, lambda: self._group.create(
            diff.name, size, diff.tags))
        with _translated(diff.name):
            device = self._group.activate(diff.name)
            # where stale bytes would be believed
            blockdev.zero(device, diff.chunk)
            diff.store.format(device, diff.template_id, diff.volume_size)

    def copy(self, source: Diff, name: str, volume_size: int) -> Diff:
        """Make a diff that has what another has now, and shares it.

        :param name: of the new LV, see :meth:`create`.
        :param volume_size: bytes, not less than the source's.
        """
        diff = dataclasses.replace(source, name=name, volume_size=volume_size)
        self._make(name, lambda: self._group.snapshot(
            source.name, name, diff.tags))
        if volume_size > source.volume_size:
            self._group.extend(name, self._size(diff))
        return diff

    def activate(self, diff: Diff) -> str:
        """Return the device of a diff."""
        return self._group.activate(diff.name)

    def mend(self, diff: Diff) -> str:
        """Make a diff fit for use, which nobody has; return its device.

        :raises DiffFailed: it can't be read or written.
        :raises OverlayDamaged: nor be made fit.
        """
        device = self.activate(diff)
        with _translated(diff.name):
            diff.store.mend(device, diff.volume_size)
        return device

    def extend(self, diff: Diff, volume_size: int) -> Diff:
        """Give a diff the room that a larger volume needs.

        It becomes one of that size when it is used the next time.

        :param volume_size: bytes.
        """
        diff = dataclasses.replace(diff, volume_size=volume_size)
        self._group.extend(diff.name, self._size(diff))
        return diff

    def replace(self, diff: Diff) -> None:
        """Put the LV named by :func:`replacement` in the place of a diff.

        Whoever is killed on the way leaves either the diff as it was, or
        none, and then the next who looks finishes it.
        """
        self._group.delete(diff.name)
        self._finish_replacing(diff.name)

    def replace_by_blank(self, diff: Diff) -> None:
        """Put a plain LV in the place of a diff."""
        name = replacement(diff.name)
        self._make(name, lambda: self._group.create(name, diff.volume_size,
                                                    {}))
        self.replace(diff)

    def collect(self, volumes: list[volumegroup.LogicalVolume]) -> None:
        """Remove replacements whose makers were killed.

        Nothing is raised: what fails now is tried at the next call.

        :param volumes: all LVs of the group.
        """
        there = {volume.name: volume for volume in volumes}
        for name, volume in there.items():
            replaced = there.get(name.removeprefix(_REPLACEMENT))
            if name.startswith(_REPLACEMENT) and replaced:
                diff = parse(volume) or parse(replaced)
                try:
                    self._collect(name, replaced.name, diff)
                except Exception:
                    LOG.exception('Could not tidy up LV %s; trying again '
                                  'later.', name)

    def delete(self, diff: Diff) -> None:
        self._group.delete(diff.name, replacement(diff.name))

    def _make(self, name: str, make: Callable[[], None]) -> None:
        try:
            make()
        except exception.VolumeGroupFailed:
            there = self._group.get(name)
            if not there or not (parse(there) or
                                 name.startswith(_REPLACEMENT)):
                raise
            self._group.delete(name)
            make()

    def _collect(self, name: str, replaced: str, diff: Diff | None) -> None:
        if diff is None:
            return
        with locks.template_lock(diff.template_id, wait=False) as held:
            # only what is there now tells whether it is to be finished
            if held and self._group.get(replaced):
                LOG.warning('Removing LV %s, which was left over.', name)
                self._group.delete(name)

    def _finish_replacing(self, name: str
                          ) -> volumegroup.LogicalVolume | None:
        ready = self._group.get(replacement(name))
        if ready is None:
            return None
        self._group.rename(ready.name, name)
        return dataclasses.replace(ready, name=name)

    def _size(self, diff: Diff) -> int:
        size = diff.store.size(diff.volume_size, diff.chunk)
        extent = self._group.extent_size
        return -(-size // extent) * extent


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, processutils.ProcessExecutionError) as error:
        reason = getattr(error, 'stderr', None) or str(error)
        raise exception.DiffFailed(name=name,
                                   reason=reason.strip()) from error


def replacement(name: str) -> str:
    """Return the name of an LV that is to replace another."""
    return _REPLACEMENT + name
