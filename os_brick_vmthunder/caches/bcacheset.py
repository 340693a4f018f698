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

"""The host's cache set: one cache device that all templates share."""

import errno
import mmap
import os
from typing import Optional

from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder.caches import backing
from os_brick_vmthunder.caches import place
from os_brick_vmthunder.caches import superblock
from os_brick_vmthunder import conf
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder import locks
from os_brick_vmthunder.privileged import bcache
from os_brick_vmthunder.privileged import files
from os_brick_vmthunder.privileged import loop
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

_SETS = '/sys/fs/bcache'
# The larger a bucket, the larger are the leaves of the set's tree and the
# later they are split; what is read at that moment is not kept. But the
# kernel counts used sectors of a bucket in 13 bits: one of 4 MiB counts as
# empty and is given away first.
_BUCKET = 2 << 20
# The kernel takes memory for two buckets and for its tree's nodes, each a
# quarter of one, in pieces of that size, and crashes if it doesn't get these
# many (fs/bcache's error path uses a pointer that isn't set yet).
_NODE = _BUCKET // 4
_BUCKETS, _NODES = 2, 32 + 2 * 4
_MEMORY = '/proc/buddyinfo'

# The kernel keeps a thousandth of a set ready for what is read first. What
# comes while it makes more ready, by writing to the device, isn't kept. A
# smaller set than this loses much to a device that is slow at that: see the
# table in doc/source/caches.rst.
_AMPLE = 32 << 30

_CONGESTED = ('congested_read_threshold_us', 'congested_write_threshold_us')

# What ages the set: see CacheSet._age.
_AGEING_ID = '00000000-0000-4000-8000-766d7468756e'
_PERIODS = 10
_OLD_BUCKETS = 4
_REQUEST = 1 << 20


class CacheSet:
    """The cache device of this host and what the kernel makes of it."""

    def __init__(self, config: conf.HostConfig) -> None:
        self._config = config
        self._place = place.Place(config, _is_ours, _BUCKET)

    def verify(self) -> None:
        """Check that there can be a set, without touching any device.

        :raises ConfigurationError: there can't; says what to do.
        """
        if self.find() is None:
            self._place.verify()

    def find(self) -> Optional[str]:
        """Return the set's UUID if the kernel has it."""
        device = self._place.find()
        if not device:
            return None
        try:
            return sysfs.link(sysfs.kernel_name(device), 'bcache', 'set')
        except OSError:
            return None

    def ensure(self) -> str:
        """Bring the set up; the first time ever, make it.

        :returns: its UUID.
        :raises ConfigurationError: the device holds something else.
        :raises CacheError: the kernel refuses it.
        """
        with locks.host_lock('bcache', 'set'):
            set_id = self.find()
            if set_id is None:
                try:
                    set_id = self._register(self._device())
                except (OSError, processutils.ProcessExecutionError) as error:
                    raise _failure(str(error)) from error
            if not self._is_ready(set_id):
                self._age(set_id)
                for name in _CONGESTED:
                    bcache.set_attribute(f'{_SETS}/{set_id}/{name}', '0')
        return set_id

    def block_size(self, set_id: str) -> int:
        """Return the size of the set's smallest request in bytes."""
        text = sysfs.read(f'{_SETS}/{set_id}/block_size') or '0.5k'
        return int(float(text.rstrip('k')) * 1024)

    def destroy(self) -> None:
        """Drop the set and everything in it.

        :raises DeviceBusy: something is cached by it just now.
        """
        with locks.host_lock('bcache', 'set'):
            # udev registers what it sees, too: a set that it brought back
            # while its device goes has crashed the kernel
            bcache.settle()
            set_id = self.find()
            if set_id is not None:
                self._stop(set_id)
            try:
                if self._config.cache_device:
                    self._wipe()
                self._place.give_up()
            except OSError as error:
                raise _failure(str(error)) from error

    def _device(self) -> str:
        """Return the cache device, formatted."""
        device = self._config.cache_device
        if not device:
            path = self._config.cache_file
            if files.exists(path):
                self._place.is_formatted(path)
            else:
                size = self._place.file_size()
                _warn_if_small(path, size)
                files.make_directory(os.path.dirname(path))
                bcache.write_file(path, size, superblock.OFFSET,
                                  superblock.cache(size, _BUCKET, 512))
            return loop.attach(path)
        if not self._place.is_formatted(device):
            size = sysfs.size(device)
            _warn_if_small(device, size)
            bcache.write_device(device, superblock.OFFSET, superblock.cache(
                size, _BUCKET, block_size(device)))
        return device

    def _register(self, device: str) -> str:
        if not _has_memory():
            bcache.compact_memory()
        if not _has_memory():
            raise _failure(_('no %(nodes)d free pieces of %(node)d KiB of '
                             'memory, or no %(buckets)d of %(bucket)d KiB; '
                             'give this host more memory') % {
                                 'nodes': _NODES, 'node': _NODE >> 10,
                                 'buckets': _BUCKETS,
                                 'bucket': _BUCKET >> 10})
        bcache.register(device)
        if not sysfs.wait(lambda: self.find() is not None):
            raise _failure(_('the kernel does not take cache device '
                             '%s; see the kernel log') % device)
        return self.find() or ''

    def _is_ready(self, set_id: str) -> bool:
        return all(sysfs.read(f'{_SETS}/{set_id}/{name}') == '0'
                   for name in _CONGESTED)

    def _age(self, set_id: str) -> None:
        """Make the set old enough to tell used buckets from unused ones.

        The kernel gives the bucket away first whose worth is least. Worth
        counts from the oldest bucket's age, in eighths of it, rounded down;
        so as long as no bucket is older than seven periods, what was just
        cached is worth nothing, as an unused bucket is, and about a tenth
        of the first reads is lost. A period is 1/1024 of the set's size in
        requests. So some buckets are filled with zeroes and left to grow
        old while others are read again and again.
        """
        device = backing.BackingDevice(self._config.state_dir, _AGEING_ID)
        device.disassemble()
        cache = f'{_SETS}/{set_id}/cache0'
        bucket = _bytes(sysfs.read(f'{cache}/bucket_size') or '512k')
        buckets = int(sysfs.read(f'{cache}/nbuckets') or 0)
        old = _OLD_BUCKETS * bucket
        name = device.assemble(
            [dm.Zero(device.start(), (old + _REQUEST) // sysfs.SECTOR)],
            self.block_size(set_id), set_id)
        try:
            for offset in range(0, old, _REQUEST):
                bcache.read_again(f'/dev/{name}', offset, _REQUEST, 1)
            bcache.read_again(
                f'/dev/{name}', old, _REQUEST,
                _PERIODS * bucket * buckets // 1024 // _REQUEST + 1)
        finally:
            device.discard()

    def _stop(self, set_id: str) -> None:
        users = [name for name in os.listdir(f'{_SETS}/{set_id}')
                 if name.startswith('bdev')]
        if users:
            raise exception.DeviceBusy(device=f'bcache set {set_id}',
                                       users=', '.join(users))
        bcache.set_attribute(f'{_SETS}/{set_id}/stop', '1')
        if not sysfs.wait(lambda: not os.path.exists(f'{_SETS}/{set_id}'),
                          60.0):
            raise _failure(_('set %s does not stop') % set_id)

    def _wipe(self) -> None:
        device = self._config.cache_device

        def wiped() -> bool:
            try:
                bcache.write_device(device, superblock.OFFSET,
                                    bytes(superblock.LENGTH))
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                return False
            return True

        # the kernel lets go of a slow device some time after its set has gone
        if _is_ours(device) and not sysfs.wait(wiped, 60.0):
            raise _failure(_('the kernel does not let go of cache device '
                             '%s') % device)


def block_size(device: str) -> int:
    """Return the size of a device's smallest request in bytes."""
    kernel = sysfs.kernel_name(device)
    for path in (('queue',), ('..', 'queue')):  # a partition has none
        text = sysfs.attribute(kernel, *path, 'logical_block_size')
        if text:
            return int(text)
    return sysfs.SECTOR


def _is_ours(device: str) -> bool:
    found = superblock.parse(bcache.read(
        device, superblock.OFFSET, superblock.LENGTH))
    return found is not None and found.is_cache and found.ours


def _warn_if_small(path: str, size: int) -> None:
    if size < _AMPLE:
        LOG.warning('The cache in %(path)s has %(size)d GiB. If its disk is '
                    'slow at writing, guests read more over the network than '
                    'with %(ample)d GiB, which it need not fill.', {
                        'path': path, 'size': size >> 30,
                        'ample': _AMPLE >> 30})


def _has_memory() -> bool:
    """Tell whether the kernel has the memory for a set."""
    return _pieces(_BUCKET) >= _BUCKETS and _pieces(_NODE) >= _NODES


def _pieces(size: int) -> int:
    """Return how many pieces of memory of so many bytes are free."""
    order = (size // mmap.PAGESIZE).bit_length() - 1
    count = 0
    for line in (sysfs.read(_MEMORY) or '').splitlines():
        _zone, _word, free = line.partition('zone')
        for larger, pieces in enumerate(free.split()[1 + order:]):
            count += int(pieces) << larger
    return count


def _bytes(text: str) -> int:
    units = {'k': 1 << 10, 'M': 1 << 20}
    return int(float(text[:-1]) * units[text[-1]])


def _failure(reason: str) -> exception.CacheError:
    return exception.CacheError(cache='bcache', reason=reason)
