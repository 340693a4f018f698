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

"""Pieces of the cache device, one a template, for layers that can't share.

They are logical volumes of a volume group of its own, named by the
template's id. LVM is shown no other device than the cache device: neither
guests' disks nor what is on them is any of its business here.
"""

import os

from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder.caches import place
from os_brick_vmthunder import conf
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder import locks
from os_brick_vmthunder.privileged import bcache
from os_brick_vmthunder.privileged import blockdev
from os_brick_vmthunder.privileged import files
from os_brick_vmthunder.privileged import loop
from os_brick_vmthunder.privileged import lvmcommands
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

_GROUP = 'vmthunder-cache'
_EXTENT = 4 << 20
# One template may take this share of the device, so that a few have room, but
# for what LVM itself takes.
_SHARE = 4
_OWN = 4 * _EXTENT
# Less is of no use for what needs more.
_LEAST = 64 << 20


class Pieces:
    """The cache device of this host, cut to pieces."""

    def __init__(self, config: conf.HostConfig) -> None:
        self._config = config
        self._place = place.Place(config, _is_ours, _EXTENT)

    def verify(self) -> None:
        """Check that there can be pieces, without touching any device.

        :raises ConfigurationError: there can't; says what to do.
        """
        self._place.verify()

    def templates(self) -> list[str]:
        """Return the ids of the templates that have one, oldest first."""
        device = self._place.find()
        if device is None and files.exists(self._config.cache_file) and (
                _is_ours(self._config.cache_file)):
            device = loop.attach(self._config.cache_file)
        if device is None or not _is_ours(device):
            return []
        return self._lvm('lvs', '--noheadings', '--options', 'lv_name',
                         '--sort', 'lv_time', _GROUP).split()

    def ensure(self, template_id: str, wanted: int) -> str:
        """Return the path of a template's piece; the first time, cut it.

        Pieces of templates that are not attached go, the oldest first, if
        there is too little room.

        :param wanted: how large it is to be in bytes. It may be smaller.
        :raises ConfigurationError: the device holds something else.
        :raises CacheError: there is no room, or LVM refuses.
        """
        with locks.host_lock('cache', 'pieces'):
            device = self._group()
            if template_id in self.templates():
                self._lvm('lvchange', '--activate', 'y', _volume(template_id))
            else:
                self._cut(template_id, min(
                    wanted, (sysfs.size(device) - _OWN) // _SHARE))
            path = dm.path_of(_mapped(template_id))
            if not sysfs.wait(lambda: sysfs.has_node(path)):
                raise _failure(_('node %s did not appear; check that udevd '
                                 'runs') % path)
            return path

    def release(self, template_id: str) -> None:
        """Let go of a template's piece; what is on it stays.

        :raises DeviceBusy: something uses it.
        """
        dm.remove(_mapped(template_id))

    def remove(self, template_id: str) -> None:
        """Give up a template's piece; it is all right if it has none."""
        with locks.host_lock('cache', 'pieces'):
            if template_id in self.templates():
                self._remove(template_id)

    def destroy(self) -> None:
        """Give up all pieces and the group; none is in use."""
        with locks.host_lock('cache', 'pieces'):
            for template_id in self.templates():
                dm.remove(_mapped(template_id))
            device = self._place.find()
            try:
                if device is not None and _is_ours(device):
                    self._lvm('vgremove', '--yes', '--force', _GROUP)
                    bcache.write_device(device, 0, bytes(1 << 20))
                self._place.give_up()
            except OSError as error:
                raise _failure(str(error)) from error

    def _group(self) -> str:
        """Bring the group up; the first time ever, make it.

        :returns: the device that it is on.
        """
        device = self._config.cache_device
        try:
            if not device:
                path = self._config.cache_file
                if files.exists(path):
                    self._place.is_formatted(path)
                else:
                    size = self._place.file_size()
                    files.make_directory(os.path.dirname(path))
                    bcache.write_file(path, size, 0, b'')
                device = loop.attach(path)
        except OSError as error:
            raise _failure(str(error)) from error
        if not self._place.is_formatted(device):
            self._lvm('vgcreate', '--yes', '--setautoactivation', 'n',
                      '--physicalextentsize', f'{_EXTENT}b', _GROUP, device)
        return device

    def _cut(self, template_id: str, size: int) -> None:
        size += -size % _EXTENT
        for other in self.templates():
            if self._free() >= size:
                break
            if dm.find(_mapped(other)) is None:
                LOG.info('The cache of template %(other)s gives way to '
                         'template %(id)s', {'other': other,
                                             'id': template_id})
                self._remove(other)
        least = min(size, _LEAST)
        size = min(size, self._free())
        if size < least:
            raise _failure(_('no room for template %s: all that there is '
                             'belongs to attached templates') % template_id)
        self._lvm('lvcreate', '--yes', '--wipesignatures', 'y', '--name',
                  template_id, '--size', f'{size}b', _GROUP)

    def _remove(self, template_id: str) -> None:
        # what it took of the cache file is free then
        self._lvm('lvremove', '--yes', '--config',
                  'devices/issue_discards=1', _volume(template_id))

    def _free(self) -> int:
        return int(self._lvm('vgs', '--noheadings', '--nosuffix', '--units',
                             'b', '--options', 'vg_free', _GROUP))

    def _lvm(self, command: str, *arguments: str) -> str:
        device = self._place.find() or ''
        try:
            return lvmcommands.run(command, '--devices', device, *arguments)
        except (processutils.ProcessExecutionError, OSError) as error:
            raise _failure(_('%(command)s: %(error)s') % {
                'command': command,
                'error': getattr(error, 'stderr', '') or error}) from error


def _is_ours(path: str) -> bool:
    """Tell whether a device, or a file that has none yet, has the group."""
    device = path if sysfs.has_node(path) else loop.find(path)
    try:
        if device is None:
            return blockdev.contents(path) == 'LVM2_member'
        if any(name.startswith(_mapped('')) for name in dm.holders(device)):
            return True
        return lvmcommands.run(
            'pvs', '--devices', device, '--noheadings', '--options',
            'vg_name', device).strip() == _GROUP
    except processutils.ProcessExecutionError:  # no physical volume at all
        return False


def _volume(template_id: str) -> str:
    return f'{_GROUP}/{template_id}'


def _mapped(template_id: str) -> str:
    """Return the name of a piece as a device-mapper device."""
    return '-'.join(part.replace('-', '--')
                    for part in (_GROUP, template_id))


def _failure(reason: str) -> exception.CacheError:
    return exception.CacheError(cache='cache device', reason=reason)
