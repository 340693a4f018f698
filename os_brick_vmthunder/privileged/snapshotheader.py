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

"""The first sectors of a dm-snapshot's persistent exception store.

From drivers/md/dm-snap-persistent.c: a magic number, then whether the
snapshot is valid, both of 32 bits, little-endian.
"""

import errno
import mmap
import os
import struct

from os_brick_vmthunder import privileged

_HEADER = struct.Struct('<II')
_MAGIC = 0x70416e53
_SIZE = 4096  # whole blocks of any disk


@privileged.default.entrypoint
def make_valid(device: str) -> bool:
    """Take back that the kernel gave a snapshot up, if it did.

    It does so when a single request for new space in the store failed. All
    that was written before is in the store, and nothing was after.

    A snapshot that works on the store doesn't notice.

    :param device: of the store.
    :returns: whether the kernel had given it up.
    """
    handle = os.open(device, os.O_RDWR | os.O_DIRECT)
    try:
        with mmap.mmap(-1, _SIZE) as block:
            if os.preadv(handle, [block], 0) != _SIZE:
                raise OSError(errno.EIO, 'short read', device)
            if _HEADER.unpack_from(block) != (_MAGIC, 0):
                return False
            _HEADER.pack_into(block, 0, _MAGIC, 1)
            if os.pwritev(handle, [block], 0) != _SIZE:
                raise OSError(errno.EIO, 'short write', device)
        os.fsync(handle)
        return True
    finally:
        os.close(handle)
