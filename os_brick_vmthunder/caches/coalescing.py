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


"""Reads a block once over the network, whoever asks for it at once.

bcache fetches a block that it hasn't got for each who asks, until the first
has it. Guests and children that boot in step would fetch everything as many
times as there are of them. The kernel's page cache makes the later ones wait
for the first, and a loop device reads by it. But it reads one page after
another, so there are several, which take turns, page by page:

    source -> /dev/vmthunder/<id> -> loops -> dm-switch

What they read at once and the network can't take yet, the queue of the
source merges into larger requests: see the udev rules. What somebody knows
that it will read can come in large requests from the outset: into the page
cache, where the loops find it.

The node is another one of the source's, whose name the loops are found by.
"""

import contextlib
import mmap
import os
from typing import Iterator

from os_brick_vmthunder.caches import base
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder.privileged import blockdev
from os_brick_vmthunder.privileged import loop
from os_brick_vmthunder import sysfs

_DIRECTORY = '/dev/vmthunder'
# How many pages may be on their way at once: a guest's usual request.
_LOOPS = 16
_PAGE_SECTORS = mmap.PAGESIZE // sysfs.SECTOR
# Bytes that are read ahead with one call. Of more, the kernel drops what is
# beyond the device's read_ahead_kb or its largest request, which the udev
# rules set; it says nothing.
_AHEAD = 128 << 10


class Ahead(base.Ahead):
    """Reads ahead of the cache, in large requests.

    As long as the cache turns out to lack most of what is read: what it has
    would come over the network once more.

    :param template_id: UUID.
    :param shared: what several read by, by the kernel's name.
    """

    def __init__(self, template_id: str, shared: str) -> None:
        self._node = _node(template_id)
        self._shared = shared
        self._lacks = False

    @contextlib.contextmanager
    def of(self, offset: int, length: int) -> Iterator[None]:
        """See the base class. Who asks for it, too, waits for these reads.

        What others lack meanwhile counts as well; then what the cache has
        may be read ahead once more.
        """
        if self._lacks:
            self._read(offset, offset + length)
        before = sysfs.read_bytes(self._shared)
        yield
        self._lacks = sysfs.read_bytes(self._shared) - before > length // 2

    def _read(self, begin: int, end: int) -> None:
        source = os.open(self._node, os.O_RDONLY)
        try:
            for offset in range(begin, end, _AHEAD):
                os.posix_fadvise(source, offset, min(_AHEAD, end - offset),
                                 os.POSIX_FADV_WILLNEED)
        finally:
            os.close(source)


def ahead(template_id: str) -> base.Ahead:
    """Return what reads ahead; nothing does where all read the source itself.
    """
    device = dm.find(_name(template_id))
    return Ahead(template_id, device.kernel) if device else base.Ahead()


def assemble(template_id: str, source: str, size: int) -> str:
    """Put it together, or find what there is of it.

    :param source: path of a read-only device.
    :param size: bytes of it.
    :returns: path of a device with the same bytes.
    :raises CacheError: the kernel refuses.
    """
    node = _node(template_id)
    try:
        blockdev.make_node(node, source)
        loops = loop.share(node, _LOOPS)
    except OSError as error:
        raise _failure(node, error) from error
    return dm.create(
        _name(template_id), f'VMTHUNDER-shared-{template_id}',
        [dm.Switch(0, size // sysfs.SECTOR, tuple(loops),
                   _PAGE_SECTORS)], readonly=True)


def disassemble(template_id: str) -> None:
    """Take it apart, as far as it is there.

    :raises DeviceBusy: something uses it.
    :raises CacheError: a part of it does not go.
    """
    dm.remove(_name(template_id))
    node = _node(template_id)
    try:
        loop.detach(node)
        blockdev.remove_node(node)
    except OSError as error:
        raise _failure(node, error) from error


def fetched(template_id: str) -> int:
    """Return how many bytes of the source were read since it was made."""
    try:
        kernel = os.path.basename(os.path.realpath(
            sysfs.directory(_node(template_id))))
    except OSError:
        return 0
    return sysfs.read_bytes(kernel)


def _name(template_id: str) -> str:
    return f'vmthunder-shared-{template_id}'


def _node(template_id: str) -> str:
    return os.path.join(_DIRECTORY, template_id)


def _failure(node: str, error: OSError) -> exception.CacheError:
    return exception.CacheError(cache='bcache',
                                reason=f'{node}: {error.strerror or error}')
