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

"""A closer look at what a profile tells in large areas.

There isn't the memory to watch small areas of a large template, all over. But
where its profile says that boots read, there is: that is a small part of it.
So the next boot tells what of these places it reads, and the one after that
may tell it in yet smaller areas.
"""

from typing import Iterable, Iterator

from os_brick_vmthunder import dmstats
from os_brick_vmthunder import profile as profiles

# The kernel looks through all of a device's regions for each request.
_MOST_PLACES = 32
# Two recordings, closely looked at, have to stay below what the kernel has for
# statistics at most, a quarter of its memory.
_MEMORY_SHARE = 2


class CloseUp:
    """Small areas of some places of an origin, counted from now on.

    :param name: device-mapper's, of the origin.
    :param size: bytes of the template.
    :param places: offsets and lengths in bytes.
    :param area: bytes of a small area.
    :param coarse: bytes of one of the areas of all of the template, a
        multiple of it.
    :raises DeviceMapperError: the kernel refuses.
    """

    def __init__(self, name: str, size: int,
                 places: Iterable[tuple[int, int]], area: int,
                 coarse: int) -> None:
        self._size = size
        self._area = area
        self._ratio = coarse // area
        self._watched: list[tuple[range, dmstats.Region]] = []
        for offset, length in places:
            numbers = range(offset // area, -(-(offset + length) // area))
            first = numbers.start * area
            self._watched.append((numbers, dmstats.Region(
                name, first, min(len(numbers) * area, size - first), area)))

    def read(self, coarse: Iterable[int]) -> profiles.Profile:
        """Return what was read.

        :param coarse: numbers of those areas of all of the template that
            were read, in order. Of what is in none of the places, all counts.
        :raises DeviceMapperError: the device is gone.
        """
        return profiles.Profile.finest(
            self._size, self._area, list(self._small(coarse)))

    def end(self) -> None:
        """Have the kernel count no more."""
        for _numbers, region in self._watched:
            region.end()

    def _small(self, coarse: Iterable[int]) -> Iterator[int]:
        read = {number for numbers, region in self._watched
                for number, sectors in zip(numbers, region.sectors_read())
                if sectors}
        end = -(-self._size // self._area)
        for large in coarse:
            for number in range(large * self._ratio,
                                min((large + 1) * self._ratio, end)):
                if number in read or not any(
                        number in numbers for numbers, _ in self._watched):
                    yield number


def begin(name: str, known: profiles.Profile, coarse: int) -> CloseUp | None:
    """Look closer at what a profile names; see :class:`CloseUp`.

    :param known: the profile.
    :returns: None if there isn't the memory for areas smaller than those of
        the profile and those of all of the template.
    """
    places = known.places(_MOST_PLACES)
    area = profiles.area_size(
        sum(length for _offset, length in places),
        max(1, dmstats.most_areas() // _MEMORY_SHARE))
    if area >= min(coarse, known.area):
        return None
    return CloseUp(name, known.size, places, area, coarse)
