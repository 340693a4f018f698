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

"""What was measured of storms, and the file that keeps it."""

from __future__ import annotations

import dataclasses
import json
import typing

MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Scale:
    """How a storm is smaller than one of real hosts.

    How much hosts have of what they don't use makes no difference.

    :ivar link_mbit: of every host's link in Mbit/s, each way, the storage
        host's too.
    :ivar pauses: how many times as long as recorded the guests' pauses are.
    :ivar share: one of so many of the boot's requests is replayed.
    :ivar memory: of each host in MiB.
    :ivar cache: size of each host's cache in GiB; it is sparse, but the
        kernel's memory for it is not.
    :ivar ahead: how long before its guest begins a host that prefetches has
        attached its volume, in seconds of real hosts: Nova makes the server's
        network and starts QEMU, whose firmware looks for disks.
    """

    link_mbit: float = 50.0
    pauses: float = 6.0
    share: int = 1
    memory: int = dataclasses.field(default=320, compare=False)
    cache: int = dataclasses.field(default=32, compare=False)
    ahead: float = 2.0

    @property
    def slowness(self) -> float:
        """How many times as slow all is as on real hosts, with 1 Gbit/s."""
        return 1000 / self.link_mbit

    @property
    def patience(self) -> int:
        """How many times as long as usual a path may give no answer.

        Where hosts wait for a processor as they do for their links, they
        take each other for dead, and all that they do then is log in again.
        """
        return max(1, round(self.pauses / Scale.pauses))


@dataclasses.dataclass(frozen=True)
class Boot:
    """What each host replays.

    :ivar guest: what was recorded.
    :ivar recorded: seconds that the guest computed when it was recorded.
    :ivar requests: how many are replayed.
    :ivar working_set: different bytes that are read.
    :ivar image_size: bytes of the image's file.
    """

    guest: str
    recorded: float
    requests: int
    working_set: int
    image_size: int


@dataclasses.dataclass(frozen=True)
class Row:
    """What one host did.

    :ivar parents: names of the relays it was told to read from.
    :ivar seconds: from the storm's beginning until it had booted.
    :ivar waited: seconds of these that it waited for its disk.
    :ivar longest: seconds that its slowest request took.
    :ivar late: seconds by which it began after the others.
    :ivar template: bytes that it read of the template from the storage host.
    :ivar relayed: bytes that it read of the template from relays.
    :ivar volume: bytes that it read of its volume from the storage host.
    :ivar received: bytes on its link, as ``sent``.
    :ivar progress: seconds and bytes that the guest had read until then.
    :ivar wrong: what was not as it should be.
    :ivar written: how many writes its cache's device did meanwhile, and the
        seconds of all of them; None of older runs.
    """

    host: str
    parents: tuple[str, ...]
    seconds: float
    waited: float
    longest: float
    late: float
    template: int
    relayed: int
    volume: int
    received: int
    sent: int
    progress: tuple[tuple[float, int], ...]
    wrong: tuple[str, ...]
    written: tuple[int, float] | None = None


@dataclasses.dataclass(frozen=True)
class Storm:
    """Hosts that booted at the same moment.

    :ivar contender: what their disks came from.
    :ivar egress: bytes that the storage host sent on its link.
    :ivar made: seconds that making a volume took, before the storm.
    :ivar attached: seconds that attaching took on all hosts, before it.
    :ivar busy: share of the machine's processors that was used meanwhile.
    :ivar idle: bytes a second that the storage host had sent before it, when
        nobody read anything: pings, and checks of paths. None if somebody
        did all the time, and of runs that didn't look.
    :ivar counted: seconds in which egress was counted; None of older runs.
    """

    contender: str
    rows: tuple[Row, ...]
    egress: int
    made: float
    attached: float
    busy: float
    idle: float | None = None
    counted: float | None = None

    @property
    def hosts(self) -> int:
        return len(self.rows)

    @property
    def seconds(self) -> float:
        """Time until the last host had booted."""
        return max(row.seconds for row in self.rows)

    @property
    def from_root(self) -> int:
        """Bytes that all hosts read of the storage host's disks."""
        return sum(row.template + row.volume for row in self.rows)

    @property
    def of_templates(self) -> int:
        """Bytes that all hosts read of templates over the network."""
        return sum(row.template + row.relayed for row in self.rows)

    @property
    def wrong(self) -> list[str]:
        return [f'{row.host}: {what}' for row in self.rows
                for what in row.wrong]

    @classmethod
    def from_dict(cls, values: dict[str, typing.Any]) -> Storm:
        rows = tuple(_row(row) for row in values['rows'])
        return cls(**{**values, 'rows': rows})


@dataclasses.dataclass(frozen=True)
class Run:
    """All storms of one run.

    :ivar date: when, as ISO 8601 has it.
    :ivar machine: on what.
    :ivar root_fan_out: how many hosts read from the storage host itself.
    """

    date: str
    machine: str
    scale: Scale
    boot: Boot
    root_fan_out: int
    storms: tuple[Storm, ...]

    def with_storms(self, storms: typing.Sequence[Storm]) -> Run:
        return dataclasses.replace(self, storms=(*self.storms, *storms))

    def find(self, contender: str, hosts: int) -> Storm | None:
        """Return the storm of so many hosts."""
        for storm in self.storms:
            if (storm.contender, storm.hosts) == (contender, hosts):
                return storm
        return None

    @property
    def sizes(self) -> list[int]:
        return sorted({storm.hosts for storm in self.storms})

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Run:
        values = json.loads(text)
        return cls(values['date'], values['machine'],
                   Scale(**values['scale']), Boot(**values['boot']),
                   values['root_fan_out'],
                   tuple(map(Storm.from_dict, values['storms'])))


def merge(runs: typing.Sequence[Run]) -> Run:
    """Return runs as one; of a storm that two have, the later one counts.

    :raises ValueError: they aren't of the same boot and scale.
    """
    first, *others = sorted(runs, key=lambda run: run.date)
    storms = {(storm.contender, storm.hosts): storm
              for storm in first.storms}
    for run in others:
        if (run.scale, run.boot) != (first.scale, first.boot):
            raise ValueError(f'the runs of {first.date} and {run.date} are '
                             f'not of the same scale')
        storms |= {(storm.contender, storm.hosts): storm
                   for storm in run.storms}
    scale = dataclasses.replace(
        first.scale, memory=min(run.scale.memory for run in runs),
        cache=min(run.scale.cache for run in runs))
    return dataclasses.replace(first, scale=scale,
                               storms=tuple(storms.values()))


def _row(values: dict[str, typing.Any]) -> Row:
    written = values.get('written')
    return Row(**{**values, 'parents': tuple(values['parents']),
                  'wrong': tuple(values['wrong']),
                  'written': written and tuple(written),
                  'progress': tuple((seconds, count) for seconds, count
                                    in values['progress'])})
