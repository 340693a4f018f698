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

"""A template's profile: what guests read of it when they boot, in order.

It is recorded on one host and kept by Cinder, and tells others what to fetch
ahead of their guests. Nothing but time depends on it: a profile that is wrong
has blocks fetched that nobody reads. As text it is a line of words:

    v2 UNITS AREA...

UNITS is the size of an area in units of 16 KiB; each AREA is the number of
one, or of the first of several that follow each other, "+" and how many. All
in hexadecimal.
"""

import bisect
import dataclasses
import functools
import hashlib
import itertools
import re
from typing import Iterable, Iterator, Sequence

from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _

MIB = 1 << 20

#: Bytes that every area has a multiple of.
UNIT = 16 << 10
#: Longest text of a profile, in characters.
LONGEST = 8192

# How many times what was read a profile may foretell.
_MOST_WASTE = 8
# In which part of what is foretold a boot has to have been to tell it more
# closely: one that broke off tells nothing.
_SEEN = 7 / 8

_VERSION = 'v2'
_NUMBER = re.compile(r'[0-9a-f]{1,8}')
_EXTENT = re.compile(r'([0-9a-f]{1,8})(?:\+([0-9a-f]{1,8}))?')


def area_size(size: int, most: int) -> int:
    """Return in what areas a template's reads can be recorded, in bytes.

    :param size: bytes of the template.
    :param most: how many areas there may be.
    :returns: 16 KiB, or as many times two of it as a large template needs.
    """
    area = UNIT
    while area * most < size:
        area *= 2
    return area


@dataclasses.dataclass(frozen=True)
class Extent:
    """Areas that follow each other.

    :ivar first: number of the first.
    :ivar count: how many.
    """

    first: int
    count: int = 1

    @property
    def end(self) -> int:
        """Number of the area behind it."""
        return self.first + self.count

    def to_text(self) -> str:
        if self.count == 1:
            return f'{self.first:x}'
        return f'{self.first:x}+{self.count:x}'


@dataclasses.dataclass(frozen=True)
class Profile:
    """What is read of a template, in order.

    :ivar size: bytes of the template.
    :ivar area: bytes of an area.
    :ivar extents: no two overlap; all begin within the template.
    """

    size: int
    area: int
    extents: tuple[Extent, ...] = ()

    def __post_init__(self) -> None:
        if self.area < UNIT or self.area % UNIT:
            raise _refused(_('its areas are not multiples of %d KiB') %
                           (UNIT >> 10))
        areas = -(-self.size // self.area)
        end = 0
        for extent in self._sorted:
            if extent.count < 1 or extent.end > areas:
                raise _refused(_('%s is not in the template') %
                               extent.to_text())
            if extent.first < end:
                raise _refused(_('%s is named twice') % extent.to_text())
            end = extent.end

    @classmethod
    def of(cls, size: int, area: int, numbers: Iterable[int]) -> 'Profile':
        """Return the profile of areas in the order in which they were read.

        What comes again counts where it came first, and what there is no
        room for in the text is left out.

        :param size: bytes of the template.
        :param area: bytes of an area.
        :param numbers: of areas.
        """
        extents: list[Extent] = []
        room = LONGEST - len(cls(size, area).to_text())
        for number in dict.fromkeys(numbers):
            last = extents.pop() if (
                extents and extents[-1].end == number) else None
            extent = Extent(last.first, last.count + 1) if last else Extent(
                number)
            if last:
                room += len(last.to_text()) + 1
            room -= len(extent.to_text()) + 1
            if room < 0:
                extents += [last] if last else []
                break
            extents.append(extent)
        return cls(size, area, tuple(extents))

    @classmethod
    def finest(cls, size: int, area: int, numbers: Sequence[int]
               ) -> 'Profile':
        """Return the same in areas large enough to leave nothing out.

        :param area: bytes of the areas that are numbered, the smallest.
        """
        while True:
            whole = cls.of(size, area, numbers)
            if sum(extent.count for extent in whole.extents) == len(
                    set(numbers)):
                return whole
            area *= 2
            numbers = [number // 2 for number in numbers]

    @classmethod
    def parse(cls, text: object, size: int) -> 'Profile':
        """Read a profile that somebody else wrote.

        :param size: bytes of the template.
        :raises InvalidProfile: it is none of such a template.
        """
        if not isinstance(text, str) or len(text) > LONGEST:
            raise _refused(_('it is no text of at most %d characters') %
                           LONGEST)
        version, *words = text.split(' ')
        if version != _VERSION:
            raise _refused(_('it is of no version that is known here'))
        if not words or not _NUMBER.fullmatch(words[0]):
            raise _refused(_('it has no size of areas'))
        return cls(size, int(words[0], 16) * UNIT,
                   tuple(map(_extent, words[1:])))

    def to_text(self) -> str:
        return ' '.join([_VERSION, f'{self.area // UNIT:x}',
                         *(extent.to_text() for extent in self.extents)])

    @functools.cached_property
    def digest(self) -> str:
        """What tells profiles apart."""
        return digest(self.to_text())

    @property
    def pieces(self) -> tuple[tuple[int, int], ...]:
        """What to fetch, in order: offset and length in bytes."""
        return tuple(self._piece(extent) for extent in self.extents)

    @property
    def rest(self) -> tuple[tuple[int, int], ...]:
        """All of the template besides, likewise."""
        return tuple(self._gaps())

    @property
    def bytes(self) -> int:
        """How much it foretells."""
        return sum(length for _offset, length in self.pieces)

    def places(self, most: int) -> tuple[tuple[int, int], ...]:
        """Return where all of it lies: offset and length in bytes.

        :param most: how many places there may be: those are named as one
            that are nearest to each other.
        """
        extents = self._sorted
        widest = sorted(range(1, len(extents)), key=lambda number: (
            extents[number - 1].end - extents[number].first))[:most - 1]
        begins = [0, *sorted(widest), len(extents)]
        return tuple(
            self._piece(Extent(extents[first].first,
                               extents[behind - 1].end - extents[first].first))
            for first, behind in itertools.pairwise(begins) if extents)

    def matches(self, read: 'Profile') -> bool:
        """Tell whether it foretold a boot.

        It did if at least half of what was read is in it, and not much that
        wasn't.
        """
        return (self.share(read) >= 0.5 and
                self.bytes <= _MOST_WASTE * read.bytes)

    def refines(self, known: 'Profile') -> bool:
        """Tell whether it says the same more closely.

        :param known: what it was recorded beside.
        """
        seen = {start // known.area for start in self._starts()}
        foretold = sum(known._foretells(number * known.area)
                       for number in seen) * known.area
        return (self.area < known.area and self.bytes <= known.bytes and
                foretold >= _SEEN * known.bytes)

    def share(self, read: 'Profile') -> float:
        """Return how much of what was read it foretold, from 0 to 1."""
        starts = list(read._starts())
        if not starts:
            return 1.0
        return sum(map(self._foretells, starts)) / len(starts)

    def _starts(self) -> Iterator[int]:
        """Yield the byte at which each area begins, in order."""
        for extent in self.extents:
            for number in range(extent.first, extent.end):
                yield number * self.area

    def _foretells(self, offset: int) -> bool:
        number = offset // self.area
        place = bisect.bisect_right(self._sorted, number,
                                    key=lambda extent: extent.first) - 1
        return place >= 0 and number < self._sorted[place].end

    @functools.cached_property
    def _sorted(self) -> list[Extent]:
        return sorted(self.extents, key=lambda extent: extent.first)

    def _gaps(self) -> Iterator[tuple[int, int]]:
        end = 0
        for extent in self._sorted:
            offset, length = self._piece(extent)
            if offset > end:
                yield end, offset - end
            end = offset + length
        if end < self.size:
            yield end, self.size - end

    def _piece(self, extent: Extent) -> tuple[int, int]:
        offset = extent.first * self.area
        return offset, min(extent.count * self.area, self.size - offset)


def digest(text: str) -> str:
    """Return the digest of a profile's text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _extent(word: str) -> Extent:
    match = _EXTENT.fullmatch(word)
    if not match:
        raise _refused(_('%r is no area') % word[:20])
    return Extent(int(match[1], 16), int(match[2] or '1', 16))


def _refused(reason: str) -> exception.InvalidProfile:
    return exception.InvalidProfile(reason=reason)
