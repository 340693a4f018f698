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

"""The hosts of a storm, and the storage host that they boot from."""

import concurrent.futures
import contextlib
import dataclasses
import pickle
import time
import typing
import uuid

from tests.bench.storm import onhost
from tests.bench.storm import outcome
from tests.bench.storm import plan
from tests.bench.storm import replay
from tests.bench.storm import storage
from tests.bench.storm import trace as traces
from tests.functional import volumes
from tests import lab

STORAGE_ADDRESS, FIRST_ADDRESS = 71, 80
#: What is there between the two: 160 hosts, as in the original experiment.
MOST_HOSTS = 254 - FIRST_ADDRESS
# Those that do something at once that takes the processor.
_AT_ONCE = 4
_TIMEOUT = 900
_SAMPLES = 60
# A parent takes long to serve, where hosts share two processors.
_RELAY_WAIT = 600

# Each path is pinged and checked several times meanwhile. Attaching may have
# left udev something to read, for some time.
_IDLE_SECONDS, _IDLE_TRIES = 30.0, 4

T = typing.TypeVar('T')
#: What a host does in a storm that begins at that moment.
Run = typing.Callable[[lab.Host, float], replay.Outcome]


@dataclasses.dataclass(frozen=True)
class Watched:
    """What was seen of a storm.

    :ivar outcomes: what came of it on each host.
    :ivar read: what each host read of which disks.
    :ivar written: how many writes each host's cache did, and their seconds.
    :ivar root: what passed the storage host's link.
    :ivar links: what passed each host's.
    :ivar idle: bytes a second that the storage host sent before anybody
        booted, when all was attached; None if somebody read all the time.
    :ivar counted: seconds in which links and disks were counted.
    :ivar busy: how busy the machine's processors were.
    """

    outcomes: list[replay.Outcome]
    read: list[dict[str, int]]
    written: list[tuple[int, float]]
    root: lab.Counters
    links: list[lab.Counters]
    idle: float | None
    counted: float
    busy: float


class Fleet:
    """Some hosts and a storage host, for the time of a `with`.

    :param scale: how small all is.
    :param trace: what is replayed, thinned already.
    """

    def __init__(self, opened: lab.Lab, count: int, scale: outcome.Scale,
                 trace: traces.Trace) -> None:
        self._lab = opened
        self._count = count
        self.scale = scale
        self.trace = trace
        #: Of the image that the next storm boots from.
        self.image = ''
        self.hosts: list[lab.Host] = []
        self.connectors: list[onhost.Properties] = []

    def __enter__(self) -> typing.Self:
        """Start all hosts.

        :raises HostDown: one doesn't come up.
        """
        self.storage = self._lab.start(
            'storage', STORAGE_ADDRESS, memory=768,
            extra_addresses=(STORAGE_ADDRESS + 1,), disks={'pv': 60 << 30})
        self.storage.preload(*storage.MODULES, timeout=_TIMEOUT)
        self.storage.call(volumes.prepare, self.storage.disk('pv'))
        specs = [lab.HostSpec(f'host-{number + 1}', FIRST_ADDRESS + number,
                              memory=self.scale.memory)
                 for number in range(self._count)]
        with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
            self.hosts = list(pool.map(self._start, specs))
        self.look_at_hosts()
        return self

    def __exit__(self, *_: object) -> None:
        for host in (self.storage, *self.hosts):
            self._lab.remove(host)

    def _start(self, spec: lab.HostSpec) -> lab.Host:
        (host,) = self._lab.start_many([spec])
        host.call(onhost.make_cache, **self._options, timeout=_TIMEOUT)
        host.call(onhost.be_patient, self.scale.patience)
        host.preload(*onhost.MODULES, timeout=_TIMEOUT)
        return host

    def configure(self, **options: typing.Any) -> None:
        """Write all hosts' settings.

        :param options: besides those that all storms have.
        """
        self.each(lambda host: host.call(
            onhost.configure, **{**self._options, **options}))

    def look_at_hosts(self) -> None:
        """Ask all hosts for what Cinder has to know about them."""
        self.connectors = self.each(lambda host: host.call(
            onhost.properties, host.address, timeout=_TIMEOUT))

    def each(self, function: typing.Callable[..., T],
             *arguments: typing.Sequence[typing.Any]) -> list[T]:
        """Call a function with each host, a few at a time.

        :param arguments: more for each, in the order of the hosts.
        """
        with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(function, self.hosts, *arguments))

    def new_image(self) -> str:
        """Have Glance keep an image that no host has in its cache."""
        self.image = f'image-{uuid.uuid4()}'
        self.storage.call(storage.add_image, self.image, self.trace,
                          timeout=_TIMEOUT)
        return self.image

    def connect(self, connections: typing.Sequence[onhost.Properties]
                ) -> tuple[list[str], float]:
        """Attach a volume on each host.

        :returns: the devices, and the seconds until the last was there.
        """
        begin = time.monotonic()
        devices = self.each(lambda host, info: host.call(
            onhost.connect, info, self.scale.patience, timeout=_TIMEOUT),
            connections)
        return devices, time.monotonic() - begin

    def disconnect(self, connections: typing.Sequence[onhost.Properties],
                   devices: typing.Sequence[str]) -> None:
        self.each(lambda host, info, device: host.call(
            onhost.disconnect, info, device, timeout=_TIMEOUT),
            connections, devices)

    def state(self) -> str:
        """Say how some of the hosts stand, for a report of what went wrong."""
        return '\n'.join(host.call(onhost.state)
                         for host in (self.storage, *self.hosts[:2])
                         if host.alive)

    @contextlib.contextmanager
    def shaped(self) -> typing.Iterator[None]:
        """Limit all links meanwhile."""
        self._shape(self.scale.link_mbit)
        try:
            yield
        finally:
            self._shape(None)

    def _shape(self, mbit: float | None) -> None:
        self.storage.network.shape(mbit)
        self.each(lambda host: host.network.shape(mbit))

    def storm(self, run: Run, ahead: float = 0.0) -> Watched:
        """Have all hosts do something, beginning at the same moment.

        :param run: gets a host, and when it is to begin.
        :param ahead: how many seconds before that it may do something else.
        """
        links = [host.network for host in (self.storage, *self.hosts)]
        idle, disks = self._idle()
        caches = self._caches()
        passed, since = [link.counters() for link in links], time.monotonic()
        # until the last of them waits for the others
        begin = time.time() + 3 + 0.3 * len(self.hosts) + ahead
        with concurrent.futures.ThreadPoolExecutor(
                len(self.hosts) + 1) as pool:
            watch = pool.submit(_processors, begin)
            seen = list(pool.map(lambda host: run(host, begin), self.hosts))
            busy = watch.result()()
        root, *others = (link.counters() - before
                         for link, before in zip(links, passed))
        counted = time.monotonic() - since
        read = [{name: count - before[name] for name, count in after.items()}
                for before, after in zip(disks, self._disks())]
        written = [(count - before[0], seconds - before[1])
                   for before, (count, seconds)
                   in zip(caches, self._caches())]
        return Watched(seen, read, written, root, others, idle, counted,
                       busy)

    def _disks(self) -> list[dict[str, int]]:
        """Return what hosts have read of their disks."""
        return self.each(lambda host: host.call(onhost.read_bytes))

    def _caches(self) -> list[tuple[int, float]]:
        """Return what the devices of hosts' caches have written."""
        return self.each(lambda host: host.call(onhost.cache_writes))

    def _idle(self) -> tuple[float | None, list[dict[str, int]]]:
        """See what the storage host sends when nobody reads.

        :returns: that, in bytes a second, and what hosts had read of their
            disks by then.
        """
        disks = self._disks()
        for _try in range(_IDLE_TRIES):
            before, begin = self.storage.network.counters(), time.monotonic()
            time.sleep(_IDLE_SECONDS)
            sent = (self.storage.network.counters() - before).tx_bytes
            seconds = time.monotonic() - begin
            last, disks = disks, self._disks()
            if disks == last:
                return sent / seconds, disks
        return None, disks

    def plan(self, pauses: float) -> str:
        """Write what hosts have to replay, and where they find it.

        :param pauses: how many times as long as recorded they are.
        """
        steps = plan.make(self.image, self.trace, pauses)
        path = self._lab.state / f'{self.image}-{pauses}.plan'
        path.write_bytes(pickle.dumps(steps))
        return str(path)

    @property
    def _options(self) -> dict[str, typing.Any]:
        """What all hosts are set to, if nothing else is said."""
        return {'relay_wait': _RELAY_WAIT, 'prefetch': 'off',
                'cache_size_gb': self.scale.cache}

    @property
    def interval(self) -> float:
        """Seconds between two samples of a host's progress."""
        return self.trace.seconds * self.scale.pauses / _SAMPLES


def _processors(begin: float) -> typing.Callable[[], float]:
    """Wait until a moment; what is returned says how busy they were since."""
    time.sleep(max(0.0, begin - time.time()))
    first = _ticks()

    def busy() -> float:
        idle, every = (now - before for now, before in zip(_ticks(), first))
        return 1 - idle / every if every else 0.0
    return busy


def _ticks() -> tuple[int, int]:
    with open('/proc/stat') as file:
        counts = list(map(int, file.readline().split()[1:9]))
    return counts[3] + counts[4], sum(counts)
