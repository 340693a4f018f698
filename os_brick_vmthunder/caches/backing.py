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

"""A backing device of bcache over a source that can't be written.

bcache keeps a superblock at the start of each device that it caches. The
source is read-only, so a small local file goes before it:

    dm-linear = [file on a loop: superblock][source]  ->  bcacheN

The file can be written anew at any time: see caches.superblock.backing. In
it the superblock is not where it would be on a device of its own, so that
nobody, as udev's rules for bcache, takes the loop for a backing device.
"""

import os
import time
from typing import Optional, Sequence

from oslo_log import log as logging

from os_brick_vmthunder.caches import superblock
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder.privileged import bcache
from os_brick_vmthunder.privileged import files
from os_brick_vmthunder.privileged import loop
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

_SHIFT = 64 << 10
_HEADER = 1 << 20
_FILE = _SHIFT + _HEADER
_SUFFIX = '.bcache'
# It goes when its last opener has let go, which may be udev on a busy host.
_STOP_SECONDS = 60.0
# What it stood on stays in use for a moment longer.
_FREE_SECONDS = 20.0


class BackingDevice:
    """The backing device of one template, from its file to bcacheN."""

    def __init__(self, directory: str, template_id: str) -> None:
        self._id = template_id
        self._name = f'vmthunder-backing-{template_id}'
        self._file = os.path.join(directory, template_id + _SUFFIX)

    @property
    def path(self) -> str:
        """Path of the dm-linear."""
        return dm.path_of(self._name)

    def find(self) -> Optional[str]:
        """Return the kernel's name, as 'bcache0', of what was assembled."""
        device = dm.find(self._name)
        if device is None:
            return None
        return _cached_device(device.kernel)

    def assemble(self, source: Sequence[dm.Target], block: int,
                 set_id: str) -> str:
        """Put it together and have a set cache it.

        Nothing of it may be there.

        :param source: targets with the source's sectors; they start where
            :meth:`start` says.
        :param block: size of the smallest request in bytes.
        :param set_id: UUID of the cache set.
        :returns: the kernel's name of the cached device, as 'bcache0'.
        :raises CacheError: bcache refuses it.
        """
        try:
            files.make_directory(os.path.dirname(self._file))
            bcache.write_file(
                self._file, _FILE, _SHIFT + superblock.OFFSET,
                superblock.backing(self._id, set_id, _HEADER, block))
            header = loop.attach(self._file)
        except OSError as error:
            raise _failure(self._file, error.strerror) from error
        dm.create(self._name, f'VMTHUNDER-backing-{self._id}', [
            dm.Linear(0, self.start(), header, _SHIFT // sysfs.SECTOR),
            *source])
        return self._register(set_id)

    def disassemble(self) -> None:
        """Take it apart, as far as it is there; the file stays.

        :raises DeviceBusy: something uses it.
        :raises CacheError: bcache doesn't let it go.
        """
        deadline = None
        while device := dm.find(self._name):
            self._stop(device.kernel)
            deadline = deadline or time.monotonic() + _FREE_SECONDS
            try:
                dm.remove(self._name)
            except exception.DeviceBusy:
                # udev may have registered it in between
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        try:
            loop.detach(self._file)
        except OSError as error:
            raise _failure(self._file, error.strerror) from error

    def drop(self) -> None:
        """Have the set forget what it kept, then remove everything."""
        name = self.find()
        if name is not None:
            _write(name, 'detach', '1')
            sysfs.wait(lambda: _state(name) == 'no cache', _STOP_SECONDS)
        self.discard()

    def discard(self) -> None:
        """Remove everything that belongs to it on this host."""
        self.disassemble()
        files.remove(self._file)

    @staticmethod
    def start() -> int:
        """Return the sector of the backing device where its source begins."""
        return _HEADER // sysfs.SECTOR

    def _register(self, set_id: str) -> str:
        device = dm.find(self._name)
        kernel = device.kernel if device else ''
        try:
            bcache.register(f'/dev/{kernel}')
        except OSError as error:
            raise _failure(self.path, error.strerror) from error
        if not sysfs.wait(lambda: _cached_device(kernel) is not None):
            raise _failure(self.path, _('the kernel did not take it; see the '
                                        'kernel log'))
        name = _cached_device(kernel) or ''
        node = f'/dev/{name}'
        if not sysfs.wait(lambda: sysfs.has_node(node)):
            raise _failure(node, _('its node did not appear; check that '
                                   'udevd runs'))
        if _state(name) == 'no cache':
            try:
                _write(name, 'attach', set_id)
            except OSError as error:
                if _state(name) == 'no cache':
                    raise _failure(self.path, _(
                        'cache set %(set)s does not take it (%(error)s); if '
                        'the kernel log says that there is no room for a '
                        'UUID, drop the whole cache') % {
                            'set': set_id, 'error': error}) from error
        _write(name, 'sequential_cutoff', '0')
        return name

    def _stop(self, kernel: str) -> None:
        if not sysfs.exists(kernel, 'bcache'):
            return
        for _second in range(int(_STOP_SECONDS)):
            try:  # anew each time: udev may have registered it in between
                _write(kernel, 'stop', '1')
            except OSError:
                LOG.debug('%s is stopping already', kernel)
            if sysfs.wait(lambda: not sysfs.exists(kernel, 'bcache'), 1.0):
                return
        raise exception.DeviceBusy(
            device=self.path,
            users=_cached_device(kernel) or _('bcache'))


def templates(directory: str) -> list[str]:
    """Return the ids of the templates that have a file in a directory."""
    return sorted(name.removesuffix(_SUFFIX)
                  for name in files.listing(directory)
                  if name.endswith(_SUFFIX))


def _cached_device(kernel: str) -> Optional[str]:
    return sysfs.link(kernel, 'bcache', 'dev')


def _state(name: str) -> Optional[str]:
    return sysfs.attribute(name, 'bcache', 'state')


def _write(name: str, attribute: str, value: str) -> None:
    bcache.set_attribute(f'/sys/class/block/{name}/bcache/{attribute}',
                         value)


def _failure(device: str, reason: str | None) -> exception.CacheError:
    return exception.CacheError(cache='bcache',
                                reason=f'{device}: {reason}')
