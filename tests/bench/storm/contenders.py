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

"""What guests' disks come from: VMThunder, and what is there without it."""

import concurrent.futures
import dataclasses
import time
import typing

from tests.bench.storm import fleet as fleets
from tests.bench.storm import imageserver
from tests.bench.storm import onhost
from tests.bench.storm import outcome
from tests.bench.storm import plan
from tests.bench.storm import replay
from tests.bench.storm import storage
from tests import lab

VMTHUNDER = 'vmthunder'
#: The next servers of the same image on the same hosts.
SECOND = 'second-vm'
#: A first boot that another host's was recorded for.
PREFETCH = 'prefetch'
SECOND_AHEAD = 'second-vm-prefetched'
COPIES, CLONES, WHOLE = 'lvm', 'image-cache', 'copy'

TITLES = {
    VMTHUNDER: 'VMThunder, nothing cached',
    PREFETCH: 'VMThunder, nothing cached, prefetching',
    SECOND: 'VMThunder, second VM on each host',
    SECOND_AHEAD: 'VMThunder, second VM, after one that prefetched',
    COPIES: 'plain iSCSI, LVM driver',
    CLONES: 'plain iSCSI, image-volume cache',
    WHOLE: 'full copy to each host, then locally'}

#: Storms of one contender may take this long, in seconds.
_TIMEOUT = 3600

_MOST_SECOND = 8

_OPTIONS = {'vmthunder_relay_networks': '10.77.0.0/24',
            # all are planned first, then they come one after another
            'vmthunder_relay_grace': 7200}
ROOT_FAN_OUT = 2

Contender = typing.Callable[[fleets.Fleet], list[outcome.Storm]]


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """Hosts that have their disks.

    :ivar made: seconds that making a volume took.
    :ivar attached: seconds that attaching took on all hosts.
    """

    connections: list[onhost.Properties]
    devices: list[str]
    made: float
    attached: float

    @classmethod
    def attach(cls, fleet: fleets.Fleet,
               connections: list[onhost.Properties],
               made: float) -> '_Prepared':
        devices, attached = fleet.connect(connections)
        return cls(connections, devices, made, attached)


def vmthunder(fleet: fleets.Fleet) -> list[outcome.Storm]:
    """Boot from a fresh template, then once more beside the first VMs."""
    fleet.new_image()
    return [_diffs(fleet, VMTHUNDER), *_second(fleet, SECOND)]


def prefetch(fleet: fleets.Fleet) -> list[outcome.Storm]:
    """Boot from a fresh template whose profile one host has recorded.

    Fetching begins as if volumes had been attached just then, and goes on
    beside the guests, which begin a little later, as they do after an attach.
    """
    fleet.configure(prefetch='profile')
    fleet.new_image()
    host = fleet.hosts[0]
    (info,), _made = _volumes(fleet, fleet.connectors[:1])
    host.call(onhost.record, info, fleet.plan(1.0), fleet.interval,
              timeout=_TIMEOUT)
    fleet.storage.call(storage.forget_attachments)
    fleet.look_at_hosts()
    connections, made = _volumes(fleet, fleet.connectors)
    if not all(info['data']['template']['profile'] for info in connections):
        raise RuntimeError('what was recorded did not reach Cinder')
    prepared = _Prepared.attach(fleet, connections, made)
    ahead = fleet.scale.ahead * fleet.scale.slowness
    boot = _guests(fleet, prepared)

    def run(host: lab.Host, begin: float) -> replay.Outcome:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            fetching = pool.submit(host.call, onhost.fetch, begin - ahead,
                                   timeout=_TIMEOUT)
            booted = boot(host, begin)
            fetching.result()
        return booted

    storms = [_boot(fleet, PREFETCH, prepared, run, ahead),
              *_second(fleet, SECOND_AHEAD)]
    fleet.configure()
    fleet.look_at_hosts()
    return storms


def copies(fleet: fleets.Fleet) -> list[outcome.Storm]:
    """Boot over plain iSCSI; each volume was written with the image."""
    return _plain(fleet, COPIES, storage.make_copies)


def clones(fleet: fleets.Fleet) -> list[outcome.Storm]:
    """Boot over plain iSCSI; volumes are clones of the cached image."""
    return _plain(fleet, CLONES, storage.make_clones)


def whole(fleet: fleets.Fleet) -> list[outcome.Storm]:
    """Copy the whole image to each host, then boot from the local disk."""
    fleet.new_image()
    fleet.storage.call(storage.make_file, fleet.image, fleet.trace,
                       timeout=_TIMEOUT)
    extents = [(offset, len(data)) for offset, data in plan.data(
        fleet.image, fleet.trace)]
    server = fleet.storage.spawn('python', '-m', imageserver.__name__,
                                 str(storage.FILE), str(storage.PORT))
    try:
        steps = fleet.plan(fleet.scale.pauses)
        while imageserver.READY not in server.log.read_text():
            if not server.alive:
                raise RuntimeError(f'the image is not served: {server.log}')
            time.sleep(0.2)
        with fleet.shaped():
            storm = fleet.storm(lambda host, begin: host.call(
                onhost.copy_and_boot, fleet.storage.address, storage.PORT,
                extents, fleet.trace.disk_size, steps, begin, fleet.interval,
                timeout=_TIMEOUT))
    finally:
        server.kill()
    fleet.storage.call(storage.forget)
    fleet.each(lambda host: host.call(onhost.forget_copy))
    return [_storm(fleet, WHOLE, [()] * len(fleet.hosts), 0, 0, storm)]


CONTENDERS: dict[str, Contender] = {
    COPIES: copies, CLONES: clones, WHOLE: whole, VMTHUNDER: vmthunder,
    PREFETCH: prefetch}


def _volumes(fleet: fleets.Fleet,
             connectors: typing.Sequence[onhost.Properties]
             ) -> tuple[list[onhost.Properties], float]:
    """Make a volume of the image for each of some hosts.

    :returns: the connections, and the seconds that making one took.
    """
    return fleet.storage.call(storage.make_diffs, fleet.image, connectors,
                              timeout=_TIMEOUT, **_OPTIONS)


def _diffs(fleet: fleets.Fleet, name: str) -> outcome.Storm:
    """Boot from a new volume on each host."""
    connections, made = _volumes(fleet, fleet.connectors)
    prepared = _Prepared.attach(fleet, connections, made)
    return _boot(fleet, name, prepared, _guests(fleet, prepared))


def _second(fleet: fleets.Fleet, name: str) -> list[outcome.Storm]:
    """Boot once more; among many hosts that would tell nothing new."""
    return ([_diffs(fleet, name)] if len(fleet.hosts) <= _MOST_SECOND
            else [])


def _plain(fleet: fleets.Fleet, name: str,
           make: typing.Callable[..., tuple[list[onhost.Properties], float]]
           ) -> list[outcome.Storm]:
    fleet.new_image()
    connections, made = fleet.storage.call(
        make, fleet.image, fleet.trace, fleet.connectors, timeout=_TIMEOUT)
    prepared = _Prepared.attach(fleet, connections, made)
    storm = _boot(fleet, name, prepared, _guests(fleet, prepared))
    fleet.disconnect(prepared.connections, prepared.devices)
    return [storm]


def _guests(fleet: fleets.Fleet, prepared: _Prepared) -> fleets.Run:
    """Return how hosts boot from their volumes."""
    steps = fleet.plan(fleet.scale.pauses)
    devices = dict(zip(fleet.hosts, prepared.devices))

    def run(host: lab.Host, begin: float) -> replay.Outcome:
        return host.call(replay.follow, devices[host], steps, begin,
                         fleet.interval, timeout=_TIMEOUT)
    return run


def _boot(fleet: fleets.Fleet, name: str, prepared: _Prepared,
          run: fleets.Run, ahead: float = 0.0) -> outcome.Storm:
    """Have all hosts boot from their volumes at the same moment.

    :param ahead: seconds before it at which hosts begin something else.
    """
    with fleet.shaped():
        storm = fleet.storm(run, ahead)
    parents = [tuple(path['relay'] for path in
                     info['data'].get('template', {}).get('paths', ())
                     if path.get('relay')) for info in prepared.connections]
    return _storm(fleet, name, parents, prepared.made, prepared.attached,
                  storm)


def _storm(fleet: fleets.Fleet, name: str,
           parents: list[tuple[str, ...]], made: float, attached: float,
           watched: fleets.Watched) -> outcome.Storm:
    return outcome.Storm(name, tuple(
        outcome.Row(host.name, above, did.seconds, did.waited, did.longest,
                    did.late, disks['template'], disks['relay'],
                    disks['other'], link.rx_bytes, link.tx_bytes,
                    did.progress, did.wrong, written)
        for host, above, did, disks, link, written in zip(
            fleet.hosts, parents, watched.outcomes, watched.read,
            watched.links, watched.written)),
        watched.root.tx_bytes, round(made, 2), round(attached, 1),
        round(watched.busy, 3), watched.idle, round(watched.counted, 1))
