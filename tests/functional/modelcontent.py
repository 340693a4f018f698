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

"""What volumes hold, as the model test sees it: on any machine.

Every sector that was ever written tells by which write, and which sector it
is. So what is read in its place tells whose it is.
"""

import bisect
import dataclasses
import struct
from typing import Iterable, Iterator

SECTOR = 512
_STAMP = struct.Struct('<QQ')
#: The number of what wrote zeroes. Those are kept in mind, since they hide
#: what was below.
ZEROES = 0

#: First sector and how many.
Range = tuple[int, int]


@dataclasses.dataclass(frozen=True, order=True)
class Run:
    """Sectors of one write.

    :ivar number: of the write, never used twice.
    """

    first: int
    count: int
    number: int

    @property
    def end(self) -> int:
        return self.first + self.count

    def part(self, first: int, end: int) -> 'Run':
        """Return what of it lies in a range; it may be empty."""
        first, end = max(first, self.first), min(end, self.end)
        return Run(first, end - first, self.number)

    @property
    def data(self) -> bytes:
        if self.number == ZEROES:
            return bytes(self.count * SECTOR)
        return b''.join(stamp(self.number, sector)
                        for sector in range(self.first, self.end))


def stamp(number: int, sector: int) -> bytes:
    """Return what a write leaves in a sector."""
    return _STAMP.pack(number, sector) * (SECTOR // _STAMP.size)


@dataclasses.dataclass(frozen=True)
class Content:
    """What a volume holds: some writes, and zeroes elsewhere.

    :ivar size: bytes.
    :ivar runs: in order, none over another.
    """

    size: int
    runs: tuple[Run, ...] = ()

    @property
    def sectors(self) -> int:
        return self.size // SECTOR

    def written(self, new: Run) -> 'Content':
        """Return what it is after a write."""
        kept = [part for run in self.runs
                for part in (run.part(0, new.first),
                             run.part(new.end, self.sectors))
                if part.count > 0]
        return dataclasses.replace(self, runs=tuple(sorted([*kept, new])))

    def resized(self, size: int) -> 'Content':
        return dataclasses.replace(self, size=size)

    def within(self, first: int, count: int) -> Iterator[Run]:
        """Yield what was written to a range."""
        begin = bisect.bisect_right(self.runs, first, key=lambda run: run.end)
        for run in self.runs[begin:]:
            if run.first >= first + count:
                return
            yield run.part(first, first + count)

    def bytes_of(self, first: int, count: int) -> bytes:
        """Return what a range is to hold."""
        data = bytearray(count * SECTOR)
        for run in self.within(first, count):
            start = (run.first - first) * SECTOR
            data[start:start + run.count * SECTOR] = run.data
        return bytes(data)

    def compare(self, first: int, data: bytes) -> str:
        """Return in which sector data differ from this, and how, if so.

        :param first: where the data were read.
        """
        expected = self.bytes_of(first, len(data) // SECTOR)
        if data == expected:
            return ''
        at = next(at for at in range(0, len(data), SECTOR)
                  if data[at:at + SECTOR] != expected[at:at + SECTOR])
        return (f'sector {first + at // SECTOR} is '
                f'{_describe(data[at:at + SECTOR])} instead of '
                f'{_describe(expected[at:at + SECTOR])}')


def _describe(data: bytes) -> str:
    number, sector = _STAMP.unpack_from(data)
    if data == bytes(SECTOR):
        return 'zeroes'
    if data == stamp(number, sector):
        return f'sector {sector} of write {number}'
    return f'neither zeroes nor any write: {data[:32].hex()}...'


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Return the same sectors in as few ranges as they are."""
    found: list[Range] = []
    for first, count in sorted(ranges):
        if found and first <= sum(found[-1]):
            before = found[-1][0]
            found[-1] = (before, max(sum(found[-1]), first + count) - before)
        else:
            found.append((first, count))
    return found
