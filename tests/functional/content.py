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

"""What a volume that was made from an image is to hold.

Light, so that hosts of any kind can look.
"""

import dataclasses
import functools
import mmap
import os
import random

MIB = 1 << 20
GIB = 1 << 30
#: Bytes of data that an image has at either end.
DATA = MIB
# Where volumes are written to, less than a chunk of the snapshot each time:
# on the image's data, on zeroes of the image, and behind it.
PLACES = (5000, 40 * MIB, 700 * MIB + 512, GIB - 512)


@functools.cache
def image_data(image_id: str, size: int) -> list[tuple[int, bytes]]:
    """Return what an image has that isn't zero, and where."""
    return [(0, random.Random(image_id).randbytes(DATA)),
            (size - DATA, random.Random(image_id + 'end').randbytes(DATA))]


@dataclasses.dataclass(frozen=True)
class Content:
    """What a volume is to hold.

    :ivar image_size: bytes of the disk.
    :ivar size: GiB of the volume.
    :ivar text: what was written to it, at several places.
    """

    image: str
    image_size: int
    size: int = 1
    text: bytes = b''

    def read(self, offset: int, length: int) -> bytes:
        """Return what is to be read from there."""
        data = bytearray(length)
        for start, piece in (
                *image_data(self.image, self.image_size),
                *((place, self.text) for place in PLACES)):
            first = max(start, offset)
            last = min(start + len(piece), offset + length)
            if first < last:
                data[first - offset:last - offset] = piece[
                    first - start:last - start]
        return bytes(data)


def write(path: str, text: bytes) -> None:
    """Write a text to several places of a device."""
    with open(path, 'r+b') as file:
        for place in PLACES:
            file.seek(place)
            file.write(text)
        file.flush()
        os.fsync(file.fileno())


def fill(path: str, first: int, last: int) -> int:
    """Write one MiB after the other, each different and past all caches.

    :param first: the MiB to begin with.
    :returns: which one could not be written, or the last.
    """
    file = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_DSYNC)
    try:
        with mmap.mmap(-1, MIB) as buffer:
            for number in range(first, last):
                buffer[:] = filling(number)
                try:
                    if os.pwritev(file, [buffer], number * MIB) != MIB:
                        return number
                except OSError:
                    return number
    finally:
        os.close(file)
    return last


def unfilled(path: str, first: int, last: int) -> list[int]:
    """Return those MiB that don't hold what was written by :func:`fill`."""
    with open(path, 'rb') as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(first * MIB)
        return [number for number in range(first, last)
                if file.read(MIB) != filling(number)]


def filling(number: int) -> bytes:
    """Return one MiB, different for each number."""
    return random.Random(number).randbytes(MIB)


def differences(path: str, content: Content) -> list[str]:
    """Compare a device with what it should hold.

    All of the image's part and what was written is looked at, and of the
    zeroes behind it a sample.
    """
    size = content.size * GIB
    offsets = {*range(0, content.image_size, MIB), *range(0, size, 64 * MIB),
               *(place // MIB * MIB for place in PLACES), size - MIB}
    with open(path, 'rb') as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        found = []
        there = file.seek(0, os.SEEK_END)
        if there != size:
            found.append(f'{there} bytes')
        for offset in sorted(offsets):
            file.seek(offset)
            if file.read(MIB) != content.read(offset, MIB):
                found.append(f'MiB {offset // MIB}')
    return found
