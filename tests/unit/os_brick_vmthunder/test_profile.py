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
    areas = -(-size // profile.area_size(size))
    runs = draw(st.lists(st.tuples(st.integers(0, areas - 1),
                                   st.integers(1, 20)), max_size=300))
    return size, [number for first, count in runs
                  for number in range(first, min(first + count, areas))]


@ddt.ddt
class ProfileTest(unittest.TestCase):

    @hypothesis.given(recorded())
    def test_survives_as_text(self, what):
        size, numbers = what
        made = profile.Profile.of(size, numbers)
        self.assertEqual(made, profile.Profile.parse(made.to_text(), size))

    @hypothesis.given(recorded())
    def test_names_each_area_once_in_order(self, what):
        size, numbers = what
        made = profile.Profile.of(size, numbers)
        named = [number for extent in made.extents
                 for number in range(extent.first, extent.end)]
        self.assertEqual(list(dict.fromkeys(numbers)), named)

    @hypothesis.given(recorded())
    def test_pieces_and_rest_are_the_whole_template(self, what):
        size, numbers = what
        made = profile.Profile.of(size, numbers)
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
        size = profile.MOST_AREAS * MIB
        made = profile.Profile.of(size, numbers)
        self.assertLessEqual(len(made.to_text()), profile.LONGEST)
        named = [number for extent in made.extents
                 for number in range(extent.first, extent.end)]
        self.assertEqual(numbers[:len(named)], named)

    def test_leaves_out_what_has_no_room(self):
        size = profile.MOST_AREAS * MIB
        made = profile.Profile.of(size, range(0, 8192, 2))
        text = made.to_text()
        self.assertLess(profile.LONGEST - 10, len(text))
        self.assertEqual(made, profile.Profile.parse(text, size))

    @hypothesis.given(SIZES)
    def test_no_template_has_too_many_areas(self, size):
        area = profile.area_size(size)
        self.assertLessEqual(-(-size // area), profile.MOST_AREAS)
        self.assertTrue(area == MIB or
                        size > area // 2 * profile.MOST_AREAS)

    def test_share(self):
        size = 100 * MIB
        of = profile.Profile.of
        known = of(size, [9, *range(20, 30), 3])
        self.assertEqual(1.0, known.share(of(size, [3, 9, 29])))
        self.assertEqual(0.5, known.share(of(size, [20, 30, 29, 19])))
        self.assertEqual(0.0, known.share(of(size, [0, 99])))
        self.assertEqual(1.0, known.share(of(size, [])))
        self.assertEqual(0.0, of(size, []).share(known))
        coarse = profile.Profile(size, 16 * MIB, (profile.Extent(1),))
        self.assertEqual(0.5, coarse.share(of(size, [16, 31, 15, 32])))

    @ddt.data(
        None, 7, b'v1 1 0', '', 'v1', 'v2 1 0', 'v1 0 0', 'v1 1 x',
        'v1 1  0', 'v1 1 0 ', 'v1 1 0+0', 'v1 1 -1', 'v1 1 64',
        'v1 1 63+2', 'v1 1 0+ffffffff', 'v1 1 123456789', 'v1 1 0+3 2',
        'v1 1 5 5', 'v1 1 0\n', 'v1 1 0+1+1', 'v1 1 ' + '0 ' * 5000,
        'v1 1 0 ' + 'a' * 9000)
    def test_hostile_text_is_refused(self, text):
        self.assertRaises(exception.InvalidProfile,
                          profile.Profile.parse, text, 100 * MIB)

    @hypothesis.given(st.text(max_size=40) | st.from_regex(
        r'v1 [0-9a-f]{1,3}( [0-9a-f]{1,3}(\+[0-9a-f]{1,3})?){0,9}',
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
