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

"""Volumes put together on the backend's own host.

    thin snapshot of the template (+) zero to the volume's size = origin
    origin + diff = /dev/mapper/vmthunder-assembly-<name of the diff>

What is above the origin depends on the diff's mode, see :mod:`.layers`.

For hosts that can't do it themselves, and for what the backend does with a
volume's bytes. The snapshot of the template is there since LIO exports the
template and lets nobody else have it.
"""

import contextlib
from typing import Callable, Iterator
import uuid

from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception as brick_exception
from oslo_concurrency import processutils
from oslo_log import log as logging

from cinder_vmthunder import diffs
from cinder_vmthunder import exception
from cinder_vmthunder import layers
from cinder_vmthunder import locks
from cinder_vmthunder import templates
from cinder_vmthunder import volumegroup

LOG = logging.getLogger(__name__)

_DEVICE = 'vmthunder-assembly-'
_ORIGIN = 'origin'  # tag of an LV, and what its name begins with


class Assemblies:
    """Assembled volumes of a volume group.

    :param group: the volume group.
    :param volumes: its diffs.
    """

    def __init__(self, group: volumegroup.VolumeGroup,
                 volumes: diffs.Diffs) -> None:
        self._group = group
        self._diffs = volumes
        self._layers = layers.make(volumes)

    def is_built(self, name: str) -> bool:
        """Whether a volume, or a part of it, is assembled here.

        :param name: of its diff.
        """
        return dm.find(_origin_device(name)) is not None

    def build(self, diff: diffs.Diff) -> str:
        """Assemble a volume, or find that it is.

        :returns: path of its device.
        :raises AssemblyFailed: the kernel refuses, or somebody uses it.
        """
        with _translated(diff.name):
            self._make_origin(diff)
            origin = dm.create(_origin_device(diff.name),
                               _uuid('origin', diff.name),
                               self._origin_table(diff), readonly=True)
            return self._layers[diff.mode].build(
                diff, _device(diff.name), _uuid('volume', diff.name), origin)

    def extend(self, diff: diffs.Diff) -> None:
        """Give an assembled volume its new size, while it is used."""
        if self.is_built(diff.name):
            self.build(diff)

    def remove(self, name: str) -> None:
        """Take a volume apart again; it need not be assembled.

        :param name: of its diff.
        :raises AssemblyFailed: somebody uses it.
        """
        if self.is_built(name):
            self._remove_with(name)

    @contextlib.contextmanager
    def view(self, diff: diffs.Diff) -> Iterator[str]:
        """Show what a volume holds now, whoever goes on writing to it.

        :returns: path of a device.
        """
        name = diffs.VIEW + str(uuid.uuid4())
        try:
            with self._copy(diff, name) as copy:
                yield self.build(copy)
        finally:
            self._remove_with(name, name)

    def collect(self, volumes: list[volumegroup.LogicalVolume],
                is_exported: Callable[[str], bool]) -> None:
        """Remove what somebody was killed over.

        Nothing is raised: what fails now is tried at the next call.

        :param volumes: all LVs of the group.
        :param is_exported: whether an assembled volume is, by its name.
        """
        there = {volume.name for volume in volumes}
        for volume in volumes:
            try:
                if volume.name.startswith(diffs.VIEW):
                    self._collect_view(volume)
                elif _ORIGIN in volume.tags:
                    self._collect_origin(volume, there, is_exported)
            except Exception:
                LOG.exception('Could not tidy up LV %s; trying again later.',
                              volume.name)

    def _make_origin(self, diff: diffs.Diff) -> None:
        if self.is_built(diff.name):
            return
        name = _origin_name(diff.name)
        self._group.delete(name)  # somebody was killed over it
        self._group.snapshot(templates.name_of(diff.template_id), name,
                             {_ORIGIN: diff.template_id}, read_only=True)

    def _origin_table(self, diff: diffs.Diff) -> list[dm.Target]:
        return dm.padded(self._group.activate(_origin_name(diff.name)),
                         diff.template_size // diffs.SECTOR,
                         diff.volume_size // diffs.SECTOR)

    @contextlib.contextmanager
    def _copy(self, diff: diffs.Diff, name: str) -> Iterator[diffs.Diff]:
        """Make the copy of a diff that a view is of, and keep it.

        Its lock comes later and goes earlier than the LV: who is killed
        leaves no lock behind for which nobody would look.
        """
        with contextlib.ExitStack() as stack:
            with locks.template_lock(diff.template_id):
                copy = self._diffs.copy(diff, name, diff.volume_size)
                stack.enter_context(locks.view_lock(name))
            yield copy

    def _remove_with(self, name: str, *others: str) -> None:
        """Take a volume apart; remove its origin, and other LVs with it."""
        with _translated(name):
            layers.remove(_device(name))
            dm.remove(_origin_device(name))
        self._group.delete(_origin_name(name), *others)

    def _collect_view(self, view: volumegroup.LogicalVolume) -> None:
        diff = diffs.parse(view)
        if diff is None:
            return
        with locks.template_lock(diff.template_id, wait=False) as held:
            if not held:
                return  # it may be in the making
            with locks.view_lock(view.name, wait=False) as is_left:
                if is_left:
                    LOG.warning('Removing %s, which was left over.',
                                view.name)
                    self._remove_with(view.name, view.name)

    def _collect_origin(self, origin: volumegroup.LogicalVolume,
                        there: set[str],
                        is_exported: Callable[[str], bool]) -> None:
        name = origin.name.removeprefix(_origin_name(''))
        if name.startswith(diffs.VIEW) and name in there:
            return  # goes with the view
        with locks.template_lock(origin.tags[_ORIGIN], wait=False) as held:
            if held and not is_exported(name):
                LOG.warning('Removing %s, which was left over.', origin.name)
                self._remove_with(name)


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except (brick_exception.VMThunderException, OSError,
            processutils.ProcessExecutionError) as error:
        reason = (getattr(error, 'msg', None) or
                  getattr(error, 'stderr', None) or str(error))
        raise exception.AssemblyFailed(name=name,
                                       reason=reason.strip()) from error


def _device(name: str) -> str:
    return _DEVICE + name


def _origin_device(name: str) -> str:
    return f'{_DEVICE}{name}-origin'


def _origin_name(name: str) -> str:
    return f'{_ORIGIN}-{name}'


def _uuid(kind: str, name: str) -> str:
    return f'VMTHUNDER-assembly-{kind}-{name}'
