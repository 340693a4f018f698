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
"""Tests of the planner, by example and by properties."""

import functools
import time
import unittest

import ddt
import hypothesis
from hypothesis import strategies as st

from cinder_vmthunder import topology

Limits = topology.Limits
Member = topology.Member


def members(text):
    """Return members from "a b<a c<a,b d!<b": <parents, ! doesn't serve."""
    result = []
    for word in text.split():
        name, _, parents = word.partition('<')
        name, _, zone = name.partition('@')
        result.append(Member(name.rstrip('!'),
                             tuple(parents.split(',')) if parents else (),
                             not name.endswith('!'), zone or None))
    return result


def least_depth(count, limits):
    """Return the depth of a tree of so many, filled level by level."""
    depth, width = 0, limits.root
    while count > 0:
        depth, count, width = depth + 1, count - width, width * limits.relay
    return depth


class Oracle:
    """What is true of members, by slow and obvious means."""

    def __init__(self, listed):
        self.members = {member.id: member for member in listed}
        # A host is deep by many ways.
        self.depth = functools.cache(self.depth)

    def serves(self, id):
        return id in self.members and self.members[id].serves

    def parents(self, id):
        """Return the parents from whom it reads now."""
        return [parent for parent in self.members[id].parents
                if self.serves(parent)]

    def depth(self, id):
        return 1 + max(map(self.depth, self.parents(id)), default=0)

    def top(self, id):
        parents = self.parents(id)
        return self.top(parents[0]) if parents else id

    def above(self, id):
        """Return all that it was recorded to read from, and itself."""
        result, waiting = set(), [id]
        while waiting:
            each = waiting.pop()
            if each not in result:
                result.add(each)
                if each in self.members:
                    waiting += self.members[each].parents
        return result

    def children(self, id, position):
        return sum(id in member.parents[position:position + 1]
                   for member in self.members.values())

    def has_room(self, id, position, limit):
        return (self.children(id, position) < limit and
                self.children(id, 0) + self.children(id, 1) < 2 * limit)

    def root_children(self):
        return {id for id in self.members if not self.parents(id)}


class Storm:
    """Hosts that come, come back, leave and die. All checks are in here."""

    def __init__(self, limits):
        self.limits = limits
        self.members = {}
        self.born = 0

    def join(self, zone=None, serves=True):
        self.born += 1
        self.place(f'h{self.born}', zone, serves)

    def again(self, number):
        if self.members:
            member = self._pick(number)
            self.place(member.id, member.zone, True)

    def leave(self, number):
        if self.members:
            self._nobody_gets_deeper(
                lambda: self.members.pop(self._pick(number).id))

    def die(self, number):
        if self.members:
            old = self._pick(number)
            self._nobody_gets_deeper(lambda: self.members.update(
                {old.id: Member(old.id, old.parents, False, old.zone)}))

    def back(self, number, zone):
        """A host that was known once joins, whoever still names it."""
        if self.born:
            self.place(f'h{number % self.born + 1}', zone, True)

    def _pick(self, number):
        return list(self.members.values())[number % len(self.members)]

    def _nobody_gets_deeper(self, change):
        before = Oracle(self.members.values())
        change()
        after = Oracle(self.members.values())
        for id in after.members:
            assert after.depth(id) <= before.depth(id), id

    def place(self, host, zone, serves):
        listed = list(self.members.values())
        parents = topology.place(host, zone, listed, self.limits)
        again = topology.place(host, zone, listed, self.limits)
        assert parents == again, 'not deterministic'
        self._check(host, zone, parents)
        self.members[host] = Member(host, parents, serves, zone)

    def _check(self, host, zone, parents):
        own = self.members.get(host)
        others = Oracle(member for member in self.members.values()
                        if member.id != host)
        usable = [id for id in others.members if others.serves(id)
                  and host not in others.above(id)]
        assert len(parents) == len(set(parents)) <= 2, parents
        assert set(parents) <= set(usable), 'gone, or below the host'
        kept = [id for id in own.parents if id in usable] if own else []
        assert list(parents[:len(kept)]) == kept, 'moved without need'
        if not kept:
            at_root = Oracle(self.members.values()).root_children() - {host}
            self._check_first(zone, parents, others, usable, len(at_root))
        if len(parents) == 2 and list(parents) != kept:
            self._check_second(zone, parents, others, usable)
        if len(parents) == 1:
            assert not self._seconds(parents[0], others, usable), 'no second'

    def _check_first(self, zone, parents, others, usable, at_root):
        free = [id for id in usable
                if others.has_room(id, 0, self.limits.relay)]
        if not parents:
            assert not free or at_root < self.limits.root, 'root is full'
            return
        assert at_root >= self.limits.root, 'root has room'
        assert parents[0] in free, 'too many children'
        near = [id for id in free
                if zone and others.members[id].zone == zone] or free
        assert parents[0] in near, 'in another zone'
        assert others.depth(parents[0]) == min(map(others.depth, near))

    def _seconds(self, first, others, usable):
        """Return who could be a second parent."""
        return [id for id in usable
                if others.has_room(id, 1, self.limits.relay)
                and others.depth(id) <= others.depth(first)
                and id not in others.above(first)
                and first not in others.above(id)]

    def _check_second(self, zone, parents, others, usable):
        first, second = parents
        free = self._seconds(first, others, usable)
        assert second in free, 'full, deeper, or in line with the first'
        branch = [id for id in free
                  if others.top(id) != others.top(first)] or free
        assert second in branch, 'in the same branch'
        near = [id for id in branch
                if zone and others.members[id].zone == zone] or branch
        assert second in near, 'in another zone'
        assert others.depth(second) == max(map(others.depth, near))


LIMITS = st.builds(Limits, st.integers(1, 3), st.integers(1, 3))
ZONES = st.sampled_from([None, 'north', 'south', 'west'])
NUMBERS = st.integers(0, 30)
JOINS = st.tuples(st.just('join'), ZONES,
                  st.sampled_from([True, True, True, False]))
STEPS = st.one_of(
    JOINS, JOINS, st.tuples(st.sampled_from(['again', 'leave', 'die']),
                            NUMBERS),
    st.tuples(st.just('back'), NUMBERS, ZONES))
QUICK = hypothesis.settings(max_examples=100)


class PropertiesTest(unittest.TestCase):

    @QUICK
    @hypothesis.given(LIMITS, st.integers(0, 12),
                      st.lists(STEPS, max_size=40))
    def test_storm(self, limits, begin, steps):
        storm = Storm(limits)
        for _ in range(begin):
            storm.join()
        for name, *values in steps:
            getattr(storm, name)(*values)
        oracle = Oracle(storm.members.values())
        for id in oracle.members:
            oracle.depth(id)  # which never ends if there is a circle
            self.assertNotIn(id, set().union(*(
                oracle.above(parent)
                for parent in oracle.members[id].parents)))
            self.assertLessEqual(
                oracle.children(id, 0) + oracle.children(id, 1),
                2 * limits.relay)

    @QUICK
    @hypothesis.given(LIMITS, st.integers(1, 40))
    def test_least_depth_if_all_join_and_serve(self, limits, count):
        storm = Storm(limits)
        for _ in range(count):
            storm.join()
        oracle = Oracle(storm.members.values())
        for number in range(1, count + 1):
            self.assertEqual(least_depth(number, limits),
                             oracle.depth(f'h{number}'))
        self.assertEqual(min(count, limits.root),
                         len(oracle.root_children()))

    @QUICK
    @hypothesis.given(st.integers(1, 3), st.integers(1, 40))
    def test_two_branches_if_all_join_and_serve(self, relay, count):
        storm = Storm(Limits(2, relay))
        for _ in range(count):
            storm.join()
        oracle = Oracle(storm.members.values())
        for member in oracle.members.values():
            if member.parents:
                first, second = member.parents
                self.assertEqual(oracle.depth(first), oracle.depth(second))
                self.assertNotEqual(oracle.top(first), oracle.top(second))

    @hypothesis.settings(max_examples=300)
    @hypothesis.given(
        st.sampled_from('abcdefgh'), ZONES, LIMITS,
        st.lists(st.builds(
            Member, st.sampled_from('abcdefg'),
            st.lists(st.sampled_from('abcdefgx'), max_size=4).map(tuple),
            st.booleans(), ZONES), max_size=12))
    def test_garbage(self, host, zone, limits, listed):
        parents = topology.place(host, zone, listed, limits)
        oracle = Oracle(listed)
        self.assertEqual(len(parents), len(set(parents)))
        self.assertLessEqual(len(parents), 2)
        for parent in parents:
            self.assertTrue(oracle.serves(parent))
            self.assertNotIn(host, oracle.above(parent))


@ddt.ddt
class PlaceTest(unittest.TestCase):

    def place(self, host, text, root=2, relay=2, zone=None):
        return ','.join(topology.place(host, zone, members(text),
                                       Limits(root, relay)))

    @ddt.data(
        ('the first one reads from the root', '', ''),
        ('so does the second', 'a', ''),
        ('the next has both as parents', 'a b', 'a,b'),
        ('load is spread', 'a b c<a,b', 'b,a'),
        ('a level is filled first', 'a b c<a,b d<b,a e<a,b', 'b,a'),
        ('then the next', 'a b c<a,b d<b,a e<a,b f<b,a', 'c,d'),
        ('no children for who does not serve', 'a! b c<b', 'b'),
        ('nobody serves: the root, whatever its limit', 'a! b!', ''),
        ('nobody has room', 'a! b c!<b d!<b', ''),
        ('a second is not deeper than the first', 'a! b<x c<b', 'b'),
        ('whose parents are gone reads from the root', 'a<x b<y,x',
         'a,b'),
        ('of a gone first parent the second remains', 'a b c<x,a d<b',
         'a,b'))
    @ddt.unpack
    def test_new(self, _name, text, parents):
        self.assertEqual(parents, self.place('n', text))

    @ddt.data(
        ('keeps parents', 'b', 'a b<a c<a', 'a'),
        ('moves from a full root', 'c', 'a b c', 'a,b'),
        ('stays at the root', 'b', 'a b c<a,b', ''),
        ('stays for lack of relays', 'c', 'a! b! c', ''),
        ('gets a second parent', 'c', 'a b c<b', 'b,a'),
        ('gets another second parent', 'c', 'a b c<b,x', 'b,a'),
        ('keeps both, better places or not', 'e',
         'a b c<a,b d<b,a e<d,c', 'd,c'),
        ('loses its first parent', 'c', 'a b! c<b,a d', 'a,d'),
        ('not below its children', 'a', 'a b c<a d<c e', 'b,e'),
        ('nor below whom it still names', 'a', 'a! b c<a d! e<c', 'b'),
        ('nor below who named it when it left', 'a', 'b c<a d! e<c', 'b'),
        ('leaves a circle', 'c', 'a b c<d d<c', 'a,b'))
    @ddt.unpack
    def test_again(self, _name, host, text, parents):
        self.assertEqual(parents, self.place(host, text))

    @ddt.data(
        ('near and deep before far', 'a@n b@s c@s<b d@s<b e@s<c', 's',
         'd,a'),
        ('zone without anybody', 'a@n b@n', 's', 'a,b'),
        ('no zone named', 'a@n b@s', None, 'a,b'),
        ('zone that is full', 'a@n b@s c@n<b d@n<b', 's', 'a,b'),
        ('a second in the zone, among other branches',
         'a@n b@s c@s', 's', 'b,c'))
    @ddt.unpack
    def test_zones(self, _name, text, zone, parents):
        self.assertEqual(parents, self.place('n', text, zone=zone))

    def test_one_branch(self):
        self.assertEqual('a', self.place('n', 'a b<a', root=1))
        self.assertEqual('b,c', self.place('n', 'a b<a c<a', root=1))

    def test_last_of_two_records_counts(self):
        self.assertEqual('b,a', self.place('n', 'a! b c<a,b a'))

    def test_ten_thousand_members(self):
        storm = [Member(f'h{number}', () if number < 2 else (
                 f'h{(number - 2) // 2}', f'h{(number - 2) // 2 ^ 1}'))
                 for number in range(10000)]

        def seconds(host):
            begin = time.thread_time()
            self.assertTrue(topology.place(host, None, storm, Limits(2, 2)))
            return time.thread_time() - begin

        for host in ('new', 'h9999'):
            self.assertLess(min(seconds(host) for _ in range(5)), 0.05)
