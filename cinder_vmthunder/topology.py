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
"""Who reads a template from whom: a pure function from members to parents.

A host reads from up to two relays, its parents, or from the root. How many
read from one is bounded, see :class:`Limits`. So the least depth that N hosts
can have is that of a tree filled level by level: the root has ``root``
children and every relay ``relay`` of its own.

Why a second parent costs no depth: a level has as many slots for second
children as for first ones, as many as the next level can have hosts. Each
of these can therefore take both parents from the level above it. For this
to come out even

- a second parent is never deeper than the first, so that the longest way of
  a host to the root is that by first parents, and
- it is taken from the first's own level if that has room, not from nearer the
  root: a slot there makes nobody less deep, except a host of that level that
  would then lack it.

While hosts only join, relay, and name no zone, the depth is exactly the least
possible, and with two root children every host below them has parents in both
branches. In general each host is placed below the least deep relay that has
room and doesn't read from it (of its zone, if there is one); nobody gets
deeper because another leaves or dies, since the second parent of a host that
has lost its first one becomes the first. But a host that has lost both takes
all below it along to its new place, which is near the leaves if the levels
above are full. So a tree that has lost many members can be deeper than a new
one of its size.

No cycles: a relay is chosen only if there is no way down to it from the host
that is placed. All recorded edges count here, those of relays that don't
serve at the moment too: they may serve again.
"""

import dataclasses
from typing import Callable, Iterable, Sequence


@dataclasses.dataclass(frozen=True)
class Limits:
    """How many may read from one.

    :ivar root: hosts that read from the root, at least 1. It is exceeded
        only when no relay has room.
    :ivar relay: children that a relay gets as first parent, and as many that
        it gets as second parent, at least 1. A second parent becomes the
        first of a child that has lost that one, so there can be more of the
        one kind at times; never more than twice as many of both.
    """

    root: int
    relay: int


@dataclasses.dataclass(frozen=True)
class Member:
    """A host that reads a template.

    :ivar id: the host's, unique.
    :ivar parents: ids of the relays it reads from, in order of preference;
        none means the root. Those that are gone may be named still.
    :ivar serves: whether it may be given children: not when it relays
        nothing, is detaching or is known to be dead.
    :ivar zone: where it is, if known.
    """

    id: str
    parents: tuple[str, ...]
    serves: bool = True
    zone: str | None = None


def place(host: str, zone: str | None, members: Sequence[Member],
          limits: Limits) -> tuple[str, ...]:
    """Choose the parents of a host.

    A host that is a member already keeps its parents as long as they serve; a
    second one is chosen anew if one is missing or gone. Without any it is
    placed like a new host.

    :param host: its id.
    :param zone: prefer parents there.
    :param members: who reads the template. Of two with the same id the last
        one counts; members that read from each other in a circle are never
        chosen.
    :param limits: bounds of what is chosen. What is recorded already may
        exceed them.
    :returns: ids of at most two relays in order of preference; none means
        the root.
    """
    tree = _Tree(host, members)
    kept = tree.kept()
    if len(kept) == 2 or not kept and tree.root_children < limits.root:
        return tuple(tree.id(each) for each in kept)
    first = kept[0] if kept else tree.first_parent(zone, limits.relay)
    if first is None:
        return ()
    second = tree.second_parent(first, zone, limits.relay)
    if second is None:
        return (tree.id(first),)
    return tree.id(first), tree.id(second)


class _Tree:
    """The members as they read now, without the host that is placed.

    They go by their numbers here, in the order given. The host itself comes
    last and is only what others may read from.

    Depth is the number of hops to the root on the longest way over relays
    that serve. A member without any such parent reads from the root.
    """

    def __init__(self, host: str, members: Sequence[Member]) -> None:
        known = {member.id: member for member in members}
        own = known.pop(host, Member(host, (), serves=False))
        self._members = [*known.values(), own]
        self._numbers = {member.id: number
                         for number, member in enumerate(self._members)}
        size = len(self._members)
        #: how many have this one as first, and as second or later parent
        self._firsts = [0] * size
        self._seconds = [0] * size
        #: by every recorded edge between those who are there
        self._children: list[list[int]] = [[] for _ in self._members]
        #: the first parent that serves
        self._leaders: list[int | None] = [None] * size
        #: 0 for those that the host may not be placed below
        self._depths = [0] * size
        #: the topmost of the leader's leaders: a branch's name
        self._branches = list(range(size))
        self._walk(self._count())
        self.root_children = self._leaders.count(None) - 1  # not the host

    def _count(self) -> list[int]:
        """Count the children of each, and return how many parents it has."""
        parents = [0] * len(self._members)
        for child, member in enumerate(self._members[:-1]):
            slots = self._firsts
            for id in member.parents:
                parent = self._numbers.get(id)
                if parent is not None:
                    slots[parent] += 1
                    parents[child] += 1
                    self._children[parent].append(child)
                    if (self._leaders[child] is None
                            and self._members[parent].serves):
                        self._leaders[child] = parent
                slots = self._seconds
        return parents

    def _walk(self, waits: list[int]) -> None:
        """Go down from the root, to nobody before all its parents.

        This never comes to what is below the host, nor to a circle or what
        is below it. So whoever gets a depth can be a parent.

        :param waits: how many parents each has.
        """
        depths = [1] * len(waits)
        order = [each for each, count in enumerate(waits[:-1]) if not count]
        for each in order:  # which grows meanwhile
            depth = self._depths[each] = depths[each]
            leader = self._leaders[each]
            if leader is not None:
                self._branches[each] = self._branches[leader]
            below = depth + 1 if self._members[each].serves else 1
            for child in self._children[each]:
                if depths[child] < below:
                    depths[child] = below
                waits[child] -= 1
                if not waits[child]:
                    order.append(child)

    def id(self, number: int) -> str:
        """Return a member's id."""
        return self._members[number].id

    def kept(self) -> list[int]:
        """Return those of the host's parents that it should keep.

        If the first is gone, the second takes its place: the host reads
        from that one as it is, and isn't moved with all that is below it.
        """
        kept: list[int] = []
        for id in dict.fromkeys(self._members[-1].parents):
            parent = self._numbers.get(id)
            if parent is not None and self._offers(parent):
                kept.append(parent)
        return kept[:2]

    def first_parent(self, zone: str | None, limit: int) -> int | None:
        """Return the best first parent, None if no relay has room."""
        def rank(each: int) -> tuple[bool, int, int]:
            return (self._elsewhere(each, zone), self._depths[each],
                    self._firsts[each])

        return min((each for each, count in enumerate(self._firsts)
                    if count < limit and self._offers(each)
                    and self._has_room(each, limit)),
                   key=rank, default=None)

    def second_parent(self, first: int, zone: str | None,
                      limit: int) -> int | None:
        """Return the best second parent beside a first, None without any.

        Another branch comes before everything, since what goes wrong above
        the first parent then doesn't concern the second.
        """
        branch = self._branches[first]
        deepest = self._depths[first]
        line = self._line(first)

        def rank(each: int) -> tuple[bool, bool, int, int]:
            return (self._branches[each] == branch,
                    self._elsewhere(each, zone),
                    -self._depths[each], self._seconds[each])

        return min((each for each, count in enumerate(self._seconds)
                    if count < limit and self._depths[each] <= deepest
                    and self._has_room(each, limit)
                    and self._offers(each) and each not in line),
                   key=rank, default=None)

    def _has_room(self, number: int, limit: int) -> bool:
        return self._firsts[number] + self._seconds[number] < 2 * limit

    def _offers(self, number: int) -> bool:
        return bool(self._depths[number]) and self._members[number].serves

    def _elsewhere(self, number: int, zone: str | None) -> bool:
        return zone is not None and self._members[number].zone != zone

    def _line(self, number: int) -> set[int]:
        """Return a relay, all above it and all below it."""
        return (_reach(number, self._parents)
                | _reach(number, self._children.__getitem__))

    def _parents(self, number: int) -> list[int]:
        return [self._numbers[id] for id in self._members[number].parents
                if id in self._numbers]


def _reach(start: int, step: Callable[[int], Iterable[int]]) -> set[int]:
    """Return a number and all that steps lead to from it."""
    reached, waiting = {start}, [start]
    while waiting:
        new = set(step(waiting.pop())) - reached
        reached |= new
        waiting += new
    return reached
