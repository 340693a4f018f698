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

"""bcache's superblock, as the kernel reads it from a device.

Writing it takes no tool and no process, so that a file is formatted before
it becomes a device, and udev never sees a device that is half done.
"""

import dataclasses
import enum
import struct
import uuid

#: Where the superblock is on its device, and how many bytes it has.
OFFSET = 4096
LENGTH = 4096

_MAGIC = bytes.fromhex('c68573f64e1a45ca8265f57f48ba6d81')
_SECTOR = 512
_OFFSET_SECTORS = OFFSET // _SECTOR
_LABEL = b'vmthunder'
# checksum, offset, version, magic, uuid, set, label, flags, seq, pad
_HEAD = struct.Struct('<QQQ16s16s16s32sQQ64x')
# then, of a cache: buckets, block and bucket size, devices of the set, number
# of this device; of a backing device: where its data start, block size
_CACHE = struct.Struct('<QHHHHIHH')
_BACKING = struct.Struct('<QHHHHIHH')
_STATE_CLEAN = 1 << 61
_POLYNOMIAL = 0x42F0E1EBA9EA3693
_MASK = (1 << 64) - 1


class Version(enum.IntEnum):
    """What a superblock describes."""

    CACHE = 0
    BACKING = 1
    CACHE_WITH_UUID = 3
    BACKING_WITH_OFFSET = 4


@dataclasses.dataclass(frozen=True)
class Superblock:
    """What one needs to know of a superblock.

    :ivar version: what it describes.
    :ivar device_id: UUID of the device, unique in its set.
    :ivar set_id: UUID of the cache set that it belongs to.
    :ivar ours: VMThunder made it.
    """

    version: Version
    device_id: str
    set_id: str
    ours: bool

    @property
    def is_cache(self) -> bool:
        return self.version in (Version.CACHE, Version.CACHE_WITH_UUID)


def parse(data: bytes) -> Superblock | None:
    """Return the superblock in these bytes, None if there is none.

    :param data: the :data:`LENGTH` bytes from :data:`OFFSET` on.
    """
    if len(data) < _HEAD.size:
        return None
    (_checksum, _offset, version, magic, device, cache_set, label, _flags,
     _seq) = _HEAD.unpack_from(data)
    if magic != _MAGIC or version not in list(Version):
        return None
    return Superblock(Version(version), str(uuid.UUID(bytes=device)),
                      str(uuid.UUID(bytes=cache_set)),
                      label.rstrip(b'\0') == _LABEL)


def cache(size: int, bucket: int, block: int) -> bytes:
    """Return the superblock of a new cache device in a set of its own.

    :param size: of the device in bytes.
    :param bucket: size of a bucket in bytes, a power of two.
    :param block: size of the smallest request in bytes, a power of two.
    """
    first = 23 * _SECTOR // bucket + 1
    return _render(
        Version.CACHE, uuid.uuid4().bytes, uuid.uuid4().bytes, 0,
        _CACHE.pack(size // bucket, block // _SECTOR, bucket // _SECTOR,
                    1, 0, 0, first, 0))


def backing(device_id: str, set_id: str, data_offset: int,
            block: int) -> bytes:
    """Return the superblock of a device that a set caches, with no dirty data.

    The set keeps what it cached of a device by the device's UUID. So this
    may be written anew at any time; what is cached is found again.

    :param device_id: UUID of the device.
    :param set_id: UUID of the cache set.
    :param data_offset: where the data start, in bytes.
    :param block: size of the smallest request in bytes.
    """
    return _render(
        Version.BACKING_WITH_OFFSET, uuid.UUID(device_id).bytes,
        uuid.UUID(set_id).bytes, _STATE_CLEAN,
        _BACKING.pack(data_offset // _SECTOR, block // _SECTOR, 0, 0, 0, 0,
                      0, 0))


def _render(version: Version, device: bytes, cache_set: bytes, flags: int,
            tail: bytes) -> bytes:
    body = (_HEAD.pack(0, _OFFSET_SECTORS, version, _MAGIC, device,
                       cache_set, _LABEL, flags, 0) + tail)[8:]
    checksum = struct.pack('<Q', _checksum(body))
    return (checksum + body).ljust(LENGTH, b'\0')


def _checksum(data: bytes) -> int:
    """CRC-64 as in ECMA-182, begun with ones and inverted at the end."""
    crc = _MASK
    for byte in data:
        crc ^= byte << 56
        for _bit in range(8):
            crc = (crc << 1 ^ (_POLYNOMIAL if crc >> 63 else 0)) & _MASK
    return crc ^ _MASK
