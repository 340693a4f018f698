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

import functools
import itertools
import unittest

import ddt
import hypothesis
from hypothesis import strategies as st

from os_brick_vmthunder import exception
from os_brick_vmthunder import profile

MIB = profile.MIB
SIZES = st.integers(1, 1 << 26).map(lambda sectors: sectors * 512)


@st.composite
def recorded(draw):
    """Return a template's size, and numbers of areas as they were read."""
    size = draw(SIZES)
    area = profile.UNIT << draw(st.integers(0, 12))
    areas = -(-size // area)
    runs = draw(st.lists(st.tuples(st.integers(0, areas - 1),
                                   st.integers(1, 20)), max_size=300))
    return size, area, [
        number for first, count in runs
        for number in range(first, min(first + count, areas))]


@ddt.ddt
class ProfileTest(unittest.TestCase):

    @hypothesis.given(recorded())
    def test_survives_as_text(self, what):
        size, area, numbers = what
        made = profile.Profile.of(size, area, numbers)
        self.assertEqual(made, profile.Profile.parse(made.to_text(), size))

    @hypothesis.given(recorded())
    def test_names_each_area_once_in_order(self, what):
        size, area, numbers = what
        made = profile.Profile.of(size, area, numbers)
        named = [number for extent in made.extents
                 for number in range(extent.first, extent.end)]
        self.assertEqual(list(dict.fromkeys(numbers)), named)

    @hypothesis.given(recorded())
    def test_pieces_and_rest_are_the_whole_template(self, what):
        size, area, numbers = what
        made = profile.Profile.of(size, area, numbers)
        end = 0
        for offset, length in sorted(made.pieces + made.rest):
            self.assertEqual(end, offset)
            self.assertGreater(length, 0)
            end += length
        self.assertEqual(size, end)
        self.assertEqual(made.bytes,
                         sum(length for _offset, length in made.pieces))

    @hypothesis.given(st.lists(st.integers(0, 8191), max_size=8192,
                               unique=True))
    def test_is_bounded_and_keeps_the_beginning(self, numbers):
        size = 8192 * MIB
        made = profile.Profile.of(size, MIB, numbers)
        self.assertLessEqual(len(made.to_text()), profile.LONGEST)
        named = [number for extent in made.extents
                 for number in range(extent.first, extent.end)]
        self.assertEqual(numbers[:len(named)], named)

    def test_leaves_out_what_has_no_room(self):
        size = 8192 * MIB
        made = profile.Profile.of(size, MIB, range(0, 8192, 2))
        text = made.to_text()
        self.assertLess(profile.LONGEST - 10, len(text))
        self.assertEqual(made, profile.Profile.parse(text, size))

    @hypothesis.given(st.lists(st.integers(0, 1 << 16), max_size=4000))
    def test_finest_leaves_nothing_out(self, numbers):
        size = 8192 * MIB
        made = profile.Profile.finest(size, profile.UNIT, numbers)
        self.assertLessEqual(len(made.to_text()), profile.LONGEST)
        self.assertEqual(1.0, made.share(profile.Profile(
            size, profile.UNIT, tuple(map(profile.Extent, set(numbers))))))
        if made.area > profile.UNIT:
            half = made.area // 2
            units = half // profile.UNIT
            there = [number // units for number in numbers]
            cut = profile.Profile.of(size, half, there)
            self.assertLess(cut.bytes, len(set(there)) * half)

    @hypothesis.given(recorded(), st.integers(1, 9))
    def test_places_have_all_and_leave_out_the_widest_gaps(self, what, most):
        size, area, numbers = what
        made = profile.Profile.of(size, area, numbers)
        places = made.places(most)
        self.assertLessEqual(len(places), most)
        self.assertEqual(sorted(places), list(places))
        for offset, length in made.pieces:
            self.assertEqual(1, sum(
                begin <= offset and offset + length <= begin + count
                for begin, count in places))
        between = [after - begin - length for (begin, length), (after, _count)
                   in itertools.pairwise(places)]
        within = [length for offset, length in made.rest if any(
            begin < offset < begin + count for begin, count in places)]
        self.assertGreaterEqual(min(between, default=size),
                                max(within, default=0)
                                if len(places) == most else 0)
        if len(places) < most:
            self.assertEqual([], within)

    @hypothesis.given(SIZES, st.integers(1, 1 << 16))
    def test_no_template_has_too_many_areas(self, size, most):
        area = profile.area_size(size, most)
        self.assertLessEqual(-(-size // area), most)
        self.assertTrue(area == profile.UNIT or size > area // 2 * most)

    def test_share(self):
        size = 100 * MIB
        of = functools.partial(profile.Profile.of, size, MIB)
        known = of([9, *range(20, 30), 3])
        self.assertEqual(1.0, known.share(of([3, 9, 29])))
        self.assertEqual(0.5, known.share(of([20, 30, 29, 19])))
        self.assertEqual(0.0, known.share(of([0, 99])))
        self.assertEqual(1.0, known.share(of([])))
        self.assertEqual(0.0, of([]).share(known))
        coarse = profile.Profile(size, 16 * MIB, (profile.Extent(1),))
        self.assertEqual(0.5, coarse.share(of([16, 31, 15, 32])))

    @ddt.data(
        ('v2 40 1+8', 'v2 10 4+4 8+18', True),
        ('v2 40 1+8', 'v2 10 24 20 1c 18 14 10 c 8 4', True),
        ('v2 40 1+8', 'v2 10 24 20 1c 18 14 10 c 8 4 80', True),
        ('v2 40 1+8', 'v2 10 20 1c 18 14 10 c 8 4', True),
        ('v2 40 1+8', 'v2 10 4+20', True),
        # it names more
        ('v2 40 1+8', 'v2 10 4+20 80', False),
        # the boot broke off, or is another
        ('v2 40 1+8', 'v2 10 18 14 10 c 8 4', False),
        ('v2 40 1+8', 'v2 10 84 80 7c 78 74 70 6c 68 64', False),
        # areas are no smaller
        ('v2 40 1+8', 'v2 40 1+7', False),
        ('v2 40 1+8', 'v2 80 0+4', False),
        ('v2 40', 'v2 10', True))
    @ddt.unpack
    def test_refines(self, known, text, refines):
        known, read = (profile.Profile.parse(each, 100 * MIB)
                       for each in (known, text))
        self.assertEqual(refines, read.refines(known))

    @ddt.data(
        None, 7, b'v2 40 0', '', 'v2', 'v1 1 0', 'v2 0 0', 'v2 40 x',
        'v2 40  0', 'v2 40 0 ', 'v2 40 0+0', 'v2 40 -1', 'v2 40 64',
        'v2 40 63+2', 'v2 40 0+ffffffff', 'v2 40 123456789', 'v2 40 0+3 2',
        'v2 40 5 5', 'v2 40 0\n', 'v2 40 0+1+1', 'v2 40 ' + '0 ' * 5000,
        'v2 40 0 ' + 'a' * 9000)
    def test_hostile_text_is_refused(self, text):
        self.assertRaises(exception.InvalidProfile,
                          profile.Profile.parse, text, 100 * MIB)

    @hypothesis.given(st.text(max_size=40) | st.from_regex(
        r'v2 [0-9a-f]{1,3}( [0-9a-f]{1,3}(\+[0-9a-f]{1,3})?){0,9}',
        fullmatch=True), SIZES)
    def test_what_passes_is_within_the_template(self, text, size):
        try:
            parsed = profile.Profile.parse(text, size)
        except exception.InvalidProfile:
            return
        end = 0
        for offset, length in sorted(parsed.pieces):
            self.assertLessEqual(end, offset)
            end = offset + length
        self.assertLessEqual(end, size)
