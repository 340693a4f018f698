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
"""Storms of hosts through the real planner, over a modelled network.

    python -m tests.bench.topology [HOSTS...] [--limits ROOT:RELAY...]

Hosts join one after another, each placed among all before it. Then a tenth
dies: members still, but not serving. The living that lost a parent are placed
again. Then the dead and another tenth leave, who lost a parent is placed
again, and as many new hosts join. After each of this all read the whole
working set anew, see :mod:`tests.bench.network`. Prints a table, or JSON.
"""

import argparse
import dataclasses
import json
import random
import sys
import time

from cinder_vmthunder import topology
from tests.bench import network as networks

SIZES = (10, 100, 1000, 10000)
LIMITS = ('2:2', '2:3', '2:4')
PROGRESS_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Row:
    """What came of one step.

    :ivar least_depth: of a new tree of so many.
    :ivar root_children: hosts that read from the root, and so its egress in
        working sets.
    :ivar two_parents: how many of those below the root's children have two.
    :ivar largest_load: the most that one relay sends, in working sets.
    :ivar seconds: until all have the working set.
    :ivar bound: seconds that nothing can beat.
    :ivar star: seconds it would take if all read from the root.
    :ivar placed: hosts placed in this step, in ms each at most and on
        average.
    """

    root: int
    relay: int
    step: str
    hosts: int
    depth: int
    least_depth: int
    root_children: int
    largest_load: float
    two_parents: float
    seconds: float
    bound: float
    star: float
    placed: int
    max_ms: float
    mean_ms: float


class Storm:
    """Members that come and go.

    :param zones: how many zones hosts are in, in turn; 0: they name none.
    :param seed: of the choice who dies and leaves.
    """

    def __init__(self, limits: topology.Limits, network: networks.Network,
                 zones: int = 0, seed: int = 0) -> None:
        self._limits = limits
        self._network = network
        self._zones = zones
        self._random = random.Random(seed)
        self._members: dict[str, topology.Member] = {}
        self._born = 0
        self._times: list[float] = []
        self._shown = time.monotonic()

    def run(self, hosts: int) -> list[Row]:
        """Play all steps."""
        tenth = hosts // 10
        rows = []
        for name, step in (
                ('storm', lambda: self._join(hosts)),
                ('10 % died', lambda: self._die(tenth)),
                ('placed again', self._repair),
                ('10 % left', lambda: self._leave(tenth)),
                ('placed again', self._repair),
                ('as many joined', lambda: self._join(
                    hosts - len(self._members)))):
            self._times = []
            step()
            rows.append(self._row(name))
        return rows

    def _join(self, count: int) -> None:
        for _ in range(count):
            zone = (f'zone{self._born % self._zones}' if self._zones
                    else None)
            self._place(f'host{self._born}', zone)
            self._born += 1

    def _die(self, count: int) -> None:
        for member in self._random.sample(list(self._members.values()),
                                          count):
            self._members[member.id] = dataclasses.replace(member,
                                                           serves=False)

    def _leave(self, count: int) -> None:
        alive = [each.id for each in self._members.values() if each.serves]
        gone = set(self._random.sample(alive, count))
        self._members = {each.id: each for each in self._members.values()
                         if each.serves and each.id not in gone}

    def _repair(self) -> None:
        for member in list(self._members.values()):
            if member.serves and member.parents != self._reads(member):
                self._place(member.id, member.zone)

    def _place(self, host: str, zone: str | None) -> None:
        members = list(self._members.values())
        begin = time.perf_counter()
        parents = topology.place(host, zone, members, self._limits)
        self._times.append(time.perf_counter() - begin)
        self._members[host] = topology.Member(host, parents, True, zone)
        if time.monotonic() - self._shown > PROGRESS_SECONDS:
            self._shown = time.monotonic()
            print(f'... {len(self._members)} members', file=sys.stderr)

    def _reads(self, member: topology.Member) -> tuple[str, ...]:
        """Return the parents that serve."""
        return tuple(parent for parent in member.parents
                     if parent in self._members
                     and self._members[parent].serves)

    def _row(self, step: str) -> Row:
        reads = {member.id: self._reads(member)
                 for member in self._members.values() if member.serves}
        spread = networks.spread(reads, self._network)
        below = [parents for parents in reads.values() if parents]
        count = len(reads)
        times = self._times or [0.0]
        return Row(
            self._limits.root, self._limits.relay, step, count, spread.depth,
            networks.least_depth(count, self._limits.root,
                                 self._limits.relay),
            spread.root_children, spread.largest_load,
            sum(len(each) == 2 for each in below) / max(1, len(below)),
            spread.seconds, networks.least_seconds(count, self._network),
            networks.star_seconds(count, self._network), len(self._times),
            1000 * max(times), 1000 * sum(times) / len(times))


HEAD = (f'{"limits":6} {"step":14} {"hosts":>6} {"depth (least)":>13} '
        f'{"root egress":>11} {"largest relay":>13} {"two parents":>11} '
        f'{"time":>8} {"bound":>8} {"ratio":>5} {"star":>9} '
        f'{"placed":>6} {"mean ms":>7} {"max ms":>7}')


def line(row: Row) -> str:
    """Return a row of the table below HEAD."""
    return (f'{row.root}:{row.relay:<4} {row.step:14} {row.hosts:6} '
            f'{f"{row.depth} ({row.least_depth})":>13} '
            f'{row.root_children:9} W {row.largest_load:11.1f} W '
            f'{row.two_parents:11.1%} {row.seconds:6.2f} s '
            f'{row.bound:6.2f} s {row.seconds / row.bound:5.2f} '
            f'{row.star:7.1f} s {row.placed:6} {row.mean_ms:7.1f} '
            f'{row.max_ms:7.1f}')


def _limits(text: str) -> topology.Limits:
    root, relay = map(int, text.split(':'))
    if min(root, relay) < 1:
        raise ValueError(text)
    return topology.Limits(root, relay)


def main() -> None:
    """Play the storms named on the command line."""
    default = networks.Network()
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('hosts', nargs='*', type=int, default=SIZES)
    parser.add_argument('--limits', nargs='+', type=_limits,
                        metavar='ROOT:RELAY',
                        default=[_limits(each) for each in LIMITS])
    parser.add_argument('--zones', type=int, default=0)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--bandwidth', type=float, default=default.bandwidth,
                        help='of each link, bytes per second')
    parser.add_argument('--latency', type=float, default=default.latency,
                        help='of a hop, seconds')
    parser.add_argument('--working-set', type=int, metavar='BYTES',
                        default=default.working_set)
    parser.add_argument('--block', type=int, metavar='BYTES',
                        default=default.block)
    parser.add_argument('--json', action='store_true')
    options = parser.parse_args()
    if min(options.hosts) < 1:
        parser.error('a storm has at least one host')
    network = networks.Network(options.bandwidth, options.latency,
                               options.working_set, options.block)
    rows = []
    if not options.json:
        print(HEAD)
    for limits in options.limits:
        for hosts in options.hosts:
            for row in Storm(limits, network, options.zones,
                             options.seed).run(hosts):
                rows.append(dataclasses.asdict(row))
                if not options.json:
                    print(line(row), flush=True)
    if options.json:
        print(json.dumps({'network': dataclasses.asdict(network),
                          'rows': rows}, indent=2))


if __name__ == '__main__':
    main()
