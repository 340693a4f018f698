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

"""The superblock of dm-cache's metadata, as the kernel reads it.

The kernel notes there whether it shut the cache down in order. If it did not,
it takes all that is cached for newer than the origin, and writes it back:
which fails, since templates can't be written. But nobody ever writes to the
cached device of a template either, so what is cached is always the same as
the origin. What is mapped is right at any time: before the kernel gives
away a block of the cache it commits that the block maps nothing.
"""

import dataclasses
import struct

#: How many bytes it has, at the start of the metadata.
LENGTH = 4096

_MAGIC = 0o6142003
# checksum, flags, number of the block, UUID, magic, version
_HEAD = struct.Struct('<IIQ16sQI')
_CLEAN, _NEEDS_CHECK = 1, 2
_CHECKSUM_XOR = 9031977
_POLYNOMIAL = 0x82F63B78


@dataclasses.dataclass(frozen=True)
class Superblock:
    """What one needs to know of a superblock.

    :ivar clean: the cache was shut down in order.
    :ivar damaged: the kernel found that it can't trust the metadata.
    """

    clean: bool
    damaged: bool


def parse(data: bytes) -> Superblock | None:
    """Return the superblock in these bytes, None if there is no valid one.

    :param data: the first :data:`LENGTH` bytes of the metadata.
    """
    if len(data) < LENGTH:
        return None
    checksum, flags, _number, _uuid, magic, _version = _HEAD.unpack_from(data)
    if magic != _MAGIC or checksum != _checksum(data):
        return None
    return Superblock(bool(flags & _CLEAN), bool(flags & _NEEDS_CHECK))


def cleaned(data: bytes) -> bytes:
    """Return a valid superblock as if the cache had been shut down."""
    changed = bytearray(data)
    flags, = struct.unpack_from('<I', data, 4)
    struct.pack_into('<I', changed, 4, flags | _CLEAN)
    struct.pack_into('<I', changed, 0, _checksum(changed))
    return bytes(changed)


def _checksum(data: bytes | bytearray) -> int:
    return _crc32c(data[4:LENGTH]) ^ _CHECKSUM_XOR


def _crc32c(data: bytes | bytearray) -> int:
    """CRC-32C, begun with ones and not inverted at the end."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _bit in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc
