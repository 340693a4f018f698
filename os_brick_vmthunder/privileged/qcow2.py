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

"""qcow2 overlays on block devices, by QEMU's tools.

All but making one passes the page cache by: that may still have what was
there before a host wrote. None looks at the backing file, whose name can't
be opened.
"""

import errno
import json
import mmap
import os
import struct
from typing import Any

from oslo_concurrency import processutils

from os_brick_vmthunder import privileged

# QEMU's docs/interop/qcow2.txt: magic number; size of the disk; length and
# place of the upper table. All are big-endian.
_HEADER = struct.Struct('>4s20xQ4xIQ')
_MAGIC = b'QFI\xfb'
_ENTRY = 8
_BLOCK = 4096  # of any disk
_CORRUPT, _LEAKS = 2, 3  # exit statuses of a check


def node(device: str, backing: str | None = None) -> str:
    """Return a disk for QEMU's tools, with all that is below it.

    :param device: of an overlay.
    :param backing: of what is below it; None for nothing.
    """
    return 'json:' + json.dumps({
        'driver': 'qcow2', 'discard': 'unmap', 'file': _disk(device),
        'backing': backing and {'driver': 'raw', 'read-only': True,
                                'file': _disk(backing, read_only=True)}})


@privileged.default.entrypoint
def create(device: str, size: int, backing: str, options: str) -> None:
    """Make an empty overlay.

    :param size: bytes of the disk.
    :param backing: what it is to call its backing file.
    :param options: of qemu-img, for the format.
    """
    processutils.execute('qemu-img', 'create', '-q', '-f', 'qcow2', '-u',
                         '-b', backing, '-F', 'raw', '-o', options, device,
                         str(size))


@privileged.default.entrypoint
def resize(device: str, size: int) -> None:
    """Make the disk of an overlay larger, which nobody may have open.

    :param size: bytes; what is new reads as zero.
    """
    processutils.execute('qemu-img', 'resize', '-q', node(device), str(size))


@privileged.default.entrypoint
def repair(device: str) -> bool:
    """Take back what crashes leaked of an overlay that nobody has open.

    :returns: whether it is sound.
    """
    said = _check(device)
    if said == _LEAKS:  # only then, or what is still to be saved might go
        said = _check(device, '-r', 'leaks')
    return said == 0


@privileged.default.entrypoint
def look(device: str) -> tuple[int, bool]:
    """Return the size of an overlay's disk, and whether it's empty.

    :raises OSError: there is no overlay.
    """
    handle = os.open(device, os.O_RDONLY | os.O_DIRECT)
    try:
        magic, size, length, offset = _HEADER.unpack_from(
            _read(handle, 0, _BLOCK))
        if magic != _MAGIC:
            raise OSError(errno.EINVAL, 'no qcow2 overlay', device)
        table = _read(handle, offset, length * _ENTRY)
        return size, not any(table)
    finally:
        os.close(handle)


def _check(device: str, *options: str) -> int:
    try:
        processutils.execute('qemu-img', 'check', '-q', *options,
                             node(device))
    except processutils.ProcessExecutionError as error:
        if error.exit_code not in (_CORRUPT, _LEAKS):
            raise
        return error.exit_code
    return 0


def _disk(device: str, read_only: bool = False) -> dict[str, Any]:
    return {'driver': 'host_device', 'filename': device,
            'read-only': read_only, 'discard': 'unmap',
            'cache': {'direct': True}}


def _read(handle: int, offset: int, length: int) -> bytes:
    whole = -(-length // _BLOCK) * _BLOCK
    with mmap.mmap(-1, whole or _BLOCK) as buffer:
        if os.preadv(handle, [buffer], offset) < length:
            raise OSError(errno.EIO, 'short read')
        return buffer[:length]
