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

"""The cache layer on the kernel's dm-cache.

Each template has a piece of the cache device:

    [header: whose it is][dm-cache's metadata][what is cached]

dm-cache has no mode that keeps what is read once. Its policy keeps what was
read again and again over some seconds, and forgets what is read no more. Of
what it keeps it makes a note on the disk when it is told to flush, which
nobody tells what is only read, or is asked how far it is.
"""

import uuid

from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder.caches import base
from os_brick_vmthunder.caches import coalescing
from os_brick_vmthunder.caches import dmcachesuperblock
from os_brick_vmthunder.caches import engine
from os_brick_vmthunder.caches import needs
from os_brick_vmthunder.caches import targets
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder.privileged import bcache
from os_brick_vmthunder.privileged import dmsetup
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

_MIB = 1 << 20
_HEADER = _MIB
_MARK = b'vmthunder dm-cache 1 '
_BLOCK = 64 << 10
# What the kernel needs for a block, with room for two versions of it.
_METADATA_PER_BLOCK = 32
_SMALLEST_METADATA = 4 * _MIB


class DmCache(engine.OnPieces):
    """Keeps what is read of a template often, on a piece of its own."""

    PROMISES = base.Promises(kept_at_first_touch=False,
                             kept_after_reboot=False, shared=False)
    NEEDS = needs.Needs(
        modules=('dm-cache', 'dm-cache-smq', 'dm-mirror'),
        programs=('lvcreate',),
        remedy=_('install a kernel that has it, as all of Debian and Ubuntu '
                 'do, and the package lvm2'))

    def settle(self, template_id: str) -> None:
        try:
            dmsetup.settle(_name('dmcache', template_id))
        except (processutils.ProcessExecutionError, OSError) as error:
            LOG.debug('Template %(id)s: %(error)s',
                      {'id': template_id, 'error': error})

    def _put_over(self, template_id: str, source: str, size: int) -> str:
        piece = self._pieces.ensure(
            template_id, _HEADER + _metadata(size) + size)
        try:
            self._prepare(template_id, piece)
        except OSError as error:
            raise exception.CacheError(
                cache='dm-cache', reason=f'{piece}: {error}') from error
        room = sysfs.size(piece) - _HEADER
        length = _metadata(room)
        metadata = _part(template_id, 'metadata', piece, _HEADER, length)
        data = _part(template_id, 'data', piece, _HEADER + length,
                     room - length)
        table = [targets.Cache(0, size // sysfs.SECTOR, metadata, data,
                               source, _BLOCK // sysfs.SECTOR)]
        name, mark = _name('dmcache', template_id), (
            f'VMTHUNDER-dmcache-{template_id}')
        try:
            return dm.create(name, mark, table)
        except exception.DeviceMapperError as error:
            LOG.warning('What was cached of template %(id)s is dropped: '
                        '%(error)s', {'id': template_id, 'error': error})
            dm.remove(name)
            bcache.write_device(metadata, 0, bytes(dmcachesuperblock.LENGTH))
            return dm.create(name, mark, table)

    def _take_away(self, template_id: str) -> None:
        for kind in ('dmcache', 'metadata', 'data'):
            dm.remove(_name(kind, template_id))
        self._pieces.release(template_id)

    def _stats(self, template_id: str, read_bytes: int) -> base.CacheStats:
        fetched = coalescing.fetched(template_id)
        try:
            words = dmsetup.status(_name('dmcache', template_id)).split()
        except (processutils.ProcessExecutionError, OSError):
            words = []
        if len(words) < 9:  # it failed
            return base.CacheStats(read_bytes, fetched)
        return base.CacheStats(read_bytes, fetched, hits=int(words[7]),
                               misses=int(words[8]))

    def _prepare(self, template_id: str, piece: str) -> None:
        """See to it that the kernel finds the template's cache, or none."""
        mark = _MARK + uuid.UUID(template_id).bytes
        if bcache.read(piece, 0, len(mark)) != mark:
            # new, and what was here before may be another template's
            bcache.write_device(piece, _HEADER,
                                bytes(dmcachesuperblock.LENGTH))
            bcache.write_device(piece, 0, mark.ljust(sysfs.SECTOR, b'\0'))
            return
        data = bcache.read(piece, _HEADER, dmcachesuperblock.LENGTH)
        found = dmcachesuperblock.parse(data)
        if found and not found.clean and not found.damaged:
            bcache.write_device(piece, _HEADER,
                                dmcachesuperblock.cleaned(data))


def _part(template_id: str, kind: str, piece: str, start: int,
          length: int) -> str:
    """Return the path of a part of a piece, as a device of its own."""
    return dm.create(
        _name(kind, template_id), f'VMTHUNDER-{kind}-{template_id}',
        [dm.Linear(0, length // sysfs.SECTOR, piece, start // sysfs.SECTOR)])


def _metadata(room: int) -> int:
    """Return how much of a room is for the metadata, in bytes."""
    wanted = _SMALLEST_METADATA + room // _BLOCK * _METADATA_PER_BLOCK
    return wanted + -wanted % _MIB


def _name(kind: str, template_id: str) -> str:
    return f'vmthunder-{kind}-{template_id}'
