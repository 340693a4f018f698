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

"""A boot's requests with every byte known, for a host to replay.

The image holds random bytes wherever the boot reads, which no layer can
compress or guess; its other bytes nobody asks for.
"""

import random
import zlib

from tests.bench.storm import replay
from tests.bench.storm import trace as traces

#: What QEMU would read by from a disk with such sectors.
ALIGNMENT = 4096
_BLOCK = 64 << 10


def content(seed: str, block: int) -> bytes:
    """Return a block of an image."""
    return random.Random(f'{seed} {block}').randbytes(_BLOCK)


def blocks(trace: traces.Trace) -> list[int]:
    """Return the numbers of the blocks that a boot asks for."""
    return sorted({block for request in trace.requests
                   for block in _blocks(*_aligned(request))})


def data(seed: str, trace: traces.Trace) -> list[tuple[int, bytes]]:
    """Return what an image has to hold: offsets, and the bytes there."""
    return [(block * _BLOCK, content(seed, block)) for block in blocks(trace)]


def working_set(trace: traces.Trace) -> int:
    """Return how many different bytes a boot reads."""
    return ALIGNMENT * len({
        number for request in trace.requests if not request.write
        for number in range(request.offset // ALIGNMENT, -(
            -(request.offset + request.length) // ALIGNMENT))})


def make(seed: str, trace: traces.Trace,
         pauses: float = 1.0) -> tuple[replay.Step, ...]:
    """Return what a host has to do, and what it has to see.

    :param seed: of the image.
    :param pauses: how many times as long as recorded they are.
    :raises ValueError: a write isn't aligned.
    """
    made = _Plan(seed)
    return tuple(made.step(number, request, request.pause * pauses)
                 for number, request in enumerate(trace.requests))


class _Plan:
    """Steps, and what the disk holds after each."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._blocks: dict[int, bytearray] = {}

    def step(self, number: int, request: traces.Request,
             pause: float) -> replay.Step:
        offset, length = _aligned(request)
        if not request.write:
            return replay.Step(pause, offset, length,
                               zlib.crc32(self._read(offset, length)))
        if (offset, length) != (request.offset, request.length):
            raise ValueError(f'{request} is not aligned to {ALIGNMENT} bytes')
        written = random.Random(f'{self._seed} write {number}').randbytes(
            length)
        self._write(offset, written)
        return replay.Step(pause, offset, length, zlib.crc32(written),
                           written)

    def _block(self, number: int) -> bytearray:
        if number not in self._blocks:
            self._blocks[number] = bytearray(content(self._seed, number))
        return self._blocks[number]

    def _read(self, offset: int, length: int) -> bytes:
        whole = b''.join(self._block(block)
                         for block in _blocks(offset, length))
        start = offset % _BLOCK
        return whole[start:start + length]

    def _write(self, offset: int, written: bytes) -> None:
        for block in _blocks(offset, len(written)):
            begin = max(offset, block * _BLOCK)
            end = min(offset + len(written), (block + 1) * _BLOCK)
            self._block(block)[begin - block * _BLOCK:
                               end - block * _BLOCK] = (
                written[begin - offset:end - offset])


def _aligned(request: traces.Request) -> tuple[int, int]:
    """Return a request's offset and length as QEMU would widen them."""
    begin = request.offset // ALIGNMENT * ALIGNMENT
    end = -(-(request.offset + request.length) // ALIGNMENT) * ALIGNMENT
    return begin, end - begin


def _blocks(offset: int, length: int) -> range:
    return range(offset // _BLOCK, -(-(offset + length) // _BLOCK))
