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

"""LVs and their tags: the truth about what is stored.

Commands that change something, and their environment, are those that
Cinder's LVM driver uses, so that Cinder's own rootwrap filters cover them.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
from typing import Any, Callable, Iterator

from cinder.brick.local_dev import lvm
from cinder.privsep import lvm as privsep_lvm
from cinder import utils
from os_brick_vmthunder.privileged import lvm as privileged_lvm
from os_brick_vmthunder import sysfs
from oslo_concurrency import processutils

from cinder_vmthunder import exception
from cinder_vmthunder.i18n import _

_PREFIX = 'vmthunder.'
_REPORT = 'lvs'
_COLUMNS = ('lv_name', 'lv_size', 'lv_attr', 'lv_tags', 'data_percent',
            'vg_uuid', 'vg_extent_size')


def as_root(*command: str) -> tuple[str, str]:
    """Run a command as Cinder runs its own, but what only reports at once.

    That is most of them, and a process that is root is there already.
    """
    prefix = list(itertools.takewhile(_is_environment, command))
    program, *arguments = command[len(prefix):]
    if program != _REPORT:
        return utils.execute(*command, run_as_root=True)
    return privileged_lvm.lvs(
        dict(word.split('=', 1) for word in prefix[1:]), *arguments)


def _is_environment(word: str) -> bool:
    return word == 'env' or '=' in word


@dataclasses.dataclass(frozen=True)
class LogicalVolume:
    """What one line of ``lvs`` says.

    :ivar size: bytes.
    :ivar is_pool: whether it is what thin LVs take their space from.
    :ivar used: share of the space that is taken, from 0 to 1; of a thin LV
        or thin pool only.
    :ivar tags: VMThunder's own tags without their prefix.
    """

    name: str
    size: int
    is_pool: bool
    read_only: bool
    used: float
    tags: dict[str, str]


class VolumeGroup:
    """LVs of one volume group.

    :param name: the volume group.
    :param execute: runs a command as root.
    """

    def __init__(self, name: str,
                 execute: Callable[..., Any] = as_root) -> None:
        self.name = name
        self._execute = execute

    @property
    def pool_name(self) -> str:
        """The thin pool that Cinder's LVM driver makes or finds."""
        return f'{self.name}-pool'

    def volumes(self) -> list[LogicalVolume]:
        """Return all LVs, by one command."""
        return [_parse(line) for line in self._lvs(self.name)]

    def get(self, name: str) -> LogicalVolume | None:
        """Return one LV, or None if there is no such LV."""
        try:
            lines = self._lvs(f'{self.name}/{name}')
        except exception.VolumeGroupFailed as error:
            if 'Failed to find logical volume' in error.msg:
                return None
            raise
        return _parse(lines[0]) if lines else None

    def pool_among(self, volumes: list[LogicalVolume]) -> LogicalVolume:
        """Return the thin pool.

        :param volumes: all LVs.
        :raises VolumeGroupFailed: it isn't there.
        """
        for volume in volumes:
            if volume.name == self.pool_name:
                return volume
        raise exception.VolumeGroupFailed(
            action='find', name=f'{self.name}/{self.pool_name}',
            reason=_('the thin pool is gone; restore it, or make it again '
                     'and start cinder-volume again'))

    def free_space(self) -> int:
        """Return the bytes that the thin pool has left."""
        pool = _parse(self._of_pool())
        return int(pool.size * (1 - pool.used))

    @property
    def zeroes(self) -> bool:
        """Whether a thin LV reads as zeroes where nobody wrote to it."""
        return self._of_pool()[2][7] == 'z'

    @property
    def uuid(self) -> str:
        return self._facts[0]

    @property
    def extent_size(self) -> int:
        """Bytes."""
        return int(self._facts[1])

    @functools.cached_property
    def _facts(self) -> list[str]:
        """What never changes of the group."""
        return self._of_pool()[5:]

    def path(self, name: str) -> str:
        return f'/dev/{self.name}/{name}'

    def identity(self, name: str) -> str | None:
        """Return what no other LV has and no other ever gets.

        :returns: None if it has no device; then only a command tells.
        """
        try:
            kernel = sysfs.kernel_name(self.path(name))
        except OSError:
            return None
        return sysfs.attribute(kernel, 'dm', 'uuid')

    def create(self, name: str, size: int, tags: dict[str, str]) -> None:
        """Make a thin LV that carries its tags from the first moment.

        :param size: bytes, rounded up to whole extents.
        """
        command = ['lvcreate', '-T', '-V', f'{size}b', '-n', name]
        for tag in _encode(tags):
            command += ['--addtag', tag]
        self._run('create', name, *lvm.LVM.LVM_CMD_PREFIX, *command,
                  f'{self.name}/{self.pool_name}')

    def snapshot(self, source: str, name: str, tags: dict[str, str],
                 read_only: bool = False) -> None:
        """Make a thin snapshot that carries its tags from the first moment.

        It takes part in nothing until it is activated.
        """
        command = ['lvcreate', '-s', '-ky', '-pr' if read_only else '-prw',
                   '-n', name]
        for tag in _encode(tags):
            command += ['--addtag', tag]
        self._run('make a snapshot named', name, *lvm.LVM.LVM_CMD_PREFIX,
                  *command, f'{self.name}/{source}')

    def extend(self, name: str, size: int) -> None:
        """Make sure that an LV has a size; it never shrinks.

        :param size: bytes, rounded up to whole extents.
        """
        try:
            self._run('extend', name, *lvm.LVM.LVM_CMD_PREFIX, 'lvextend',
                      '-L', f'{size}b', f'{self.name}/{name}')
        except exception.VolumeGroupFailed:
            # as when there is nothing to do
            found = self.get(name)
            if found is None or found.size < size:
                raise

    def rename(self, name: str, new_name: str) -> None:
        with self._translated('rename', name):
            privsep_lvm.lvrename(self.name, name, new_name)

    def tag(self, name: str, add: dict[str, str] | None = None,
            remove: dict[str, str] | None = None) -> None:
        """Change tags in one transaction."""
        options: list[str] = []
        for option, tags in (('--deltag', remove), ('--addtag', add)):
            for tag in _encode(tags or {}):
                options += [option, tag]
        self._run('tag', name, 'lvchange', *options, f'{self.name}/{name}')

    def set_read_only(self, name: str) -> None:
        self._run('write-protect', name,
                  'lvchange', '-pr', f'{self.name}/{name}')

    def is_active(self, name: str) -> bool:
        """Tell whether an LV has its device."""
        return os.path.exists(self.path(name))

    def activate(self, name: str) -> str:
        """Make sure that an LV has its device.

        :returns: path of the device.
        """
        path = self.path(name)
        if not self.is_active(name):
            self._run('activate', name, 'lvchange', '-a', 'y', '--yes', '-K',
                      f'{self.name}/{name}')
        return path

    def delete(self, *names: str) -> None:
        """Remove LVs by one command; none by such a name is fine."""
        self._run('remove', names[0], 'lvremove', '--config',
                  'activation { retry_deactivation = 1} ', '-f', '--select',
                  ' || '.join(f'lv_name={name}' for name in names),
                  self.name)

    def _of_pool(self) -> list[str]:
        return self._lvs(f'{self.name}/{self.pool_name}')[0]

    def _lvs(self, what: str) -> list[list[str]]:
        out, _err = self._run(
            'list', what, *lvm.LVM.LVM_CMD_PREFIX, _REPORT, '--noheadings',
            '--unit=b', '--nosuffix', '--separator', '|', '-o',
            ','.join(_COLUMNS), what)
        return [[field.strip() for field in line.split('|')]
                for line in out.splitlines() if line.strip()]

    def _run(self, action: str, name: str, *command: str) -> tuple[str, str]:
        with self._translated(action, name):
            return self._execute(*command)

    @contextlib.contextmanager
    def _translated(self, action: str, name: str) -> Iterator[None]:
        try:
            yield
        except (processutils.ProcessExecutionError, OSError) as error:
            reason = getattr(error, 'stderr', None) or str(error)
            raise exception.VolumeGroupFailed(
                action=action, name=name, reason=reason.strip()) from error


def _parse(fields: list[str]) -> LogicalVolume:
    name, size, attributes, tags, used = fields[:5]
    return LogicalVolume(
        name=name, size=int(size), is_pool=attributes[0] == 't',
        read_only=attributes[1] in 'rR',
        used=float(used or 0) / 100,
        tags=dict(tag.removeprefix(_PREFIX).partition('=')[::2]
                  for tag in tags.split(',') if tag.startswith(_PREFIX)))


def _encode(tags: dict[str, str]) -> list[str]:
    return [f'{_PREFIX}{key}={value}' if value else _PREFIX + key
            for key, value in tags.items()]
