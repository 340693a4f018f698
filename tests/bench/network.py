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
"""A model of hosts that read a working set from each other.

- The root and every host have a link of the same bandwidth, full duplex.
- All begin at the same time, with empty caches, and read the same working
  set, in blocks and in the same order. They read ahead, so that latency
  delays a block but doesn't bound the rate.
- A host reads equal parts from each of its parents, or all from the root.
  Who is read from gives all its readers the same share of its link per byte
  they want of it; what one can't use is not given to the others.
- A block is passed on when all of it has come, and costs a latency per hop.

So a host is as fast as the slowest of its own link, its parents' shares
and its parents, and begins a block's transfer and a latency after them.
"""

import dataclasses
import graphlib
import math
from typing import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Network:
    """What carries the working set.

    :ivar bandwidth: of each link in each direction, in bytes per second.
    :ivar latency: of a hop, in seconds.
    :ivar working_set: in bytes.
    :ivar block: what is passed on as one, in bytes.
    """

    bandwidth: float = 1.25e9
    latency: float = 0.002
    working_set: int = 512 << 20
    block: int = 1 << 20


@dataclasses.dataclass(frozen=True)
class Spread:
    """How a working set reached all hosts.

    :ivar depth: hops from the root to the farthest host.
    :ivar root_children: hosts that read from the root.
    :ivar largest_load: the most that one relay sends, in working sets.
    :ivar seconds: until the last host has all of it.
    """

    depth: int
    root_children: int
    largest_load: float
    seconds: float


def spread(parents: Mapping[str, Sequence[str]], network: Network) -> Spread:
    """Let all hosts read the working set.

    :param parents: of every host; none means the root.
    :raises graphlib.CycleError: if hosts read from each other in a circle.
    """
    loads = dict.fromkeys(parents, 0.0)
    root_children = 0
    for above in parents.values():
        root_children += not above
        for parent in above:
            loads[parent] += 1 / len(above)
    depths: dict[str, int] = {}
    rates: dict[str, float] = {}
    begins: dict[str, float] = {}
    for host in graphlib.TopologicalSorter(parents).static_order():
        above = parents[host]
        load = max((loads[each] for each in above), default=root_children)
        depths[host] = 1 + max((depths[each] for each in above), default=0)
        rates[host] = min([network.bandwidth / max(1, load),
                           *(rates[each] for each in above)])
        begins[host] = (max((begins[each] for each in above), default=0)
                        + network.latency)
        if above:  # the parents' first block
            begins[host] += network.block / min(rates[each]
                                                for each in above)
    return Spread(
        max(depths.values(), default=0), root_children,
        max(loads.values(), default=0.0),
        max((begins[host] + network.working_set / rates[host]
             for host in parents), default=0.0))


def least_seconds(hosts: int, network: Network) -> float:
    """Return a time that no way to pass on blocks can beat.

    The root's link is busy for W/B to send each block once. The last one
    is then at one host, and who has it can at most double in the time of a
    block: floor(log2 hosts) times. And there is one latency at least.
    """
    rounds = (network.working_set / network.block
              + math.floor(math.log2(hosts)))
    return rounds * network.block / network.bandwidth + network.latency


def star_seconds(hosts: int, network: Network) -> float:
    """Return the time it takes if all read from the root."""
    return hosts * network.working_set / network.bandwidth + network.latency


def least_depth(hosts: int, root: int, relay: int) -> int:
    """Return the depth of a tree with bounded fan-out, level by level."""
    depth, width = 0, root
    while hosts > 0:
        depth, hosts, width = depth + 1, hosts - width, width * relay
    return depth
