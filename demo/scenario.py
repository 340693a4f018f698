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

"""The story: one image, three servers, two hosts, every server on both.

A and C are the first on their hosts and B is the second on A's; then they
change places, all at once. Nova does it all, as its users would have it.
"""

import concurrent.futures
import dataclasses
import pathlib
import time
from typing import Callable
from typing import TypeVar

from demo import guest
from demo import meter
from demo import probe
from demo import progress as progress_module
from demo import results
from tests import lab
from tests.lab.controlplane import computeservice
from tests.lab.controlplane import plane as plane_module

T = TypeVar('T')

# With room for the counters of `fetches`.
COMPUTE = tuple(computeservice.host_spec(number, memory=1280)
                for number in (1, 2))
# Who begins on which host, one after the other.
FIRST = {'compute-1': ('A', 'B'), 'compute-2': ('C',)}
# Who goes where then, all at once.
SECOND = {'compute-1': ('C',), 'compute-2': ('A', 'B')}
VOLUME_TYPE = 'vmthunder'
VOLUME_GROUP = 'cinder-vmthunder'
# Nova leaves volumes to Cinder, which deletes them by and by.
CLEAN_TIMEOUT = 60


class Scenario:
    """One run.

    :param plane: the control plane, which is up.
    """

    def __init__(self, plane: plane_module.ControlPlane,
                 progress: progress_module.Progress) -> None:
        self._plane = plane
        self._nova = plane.nova.servers
        self._progress = progress
        self._hosts = {host.name: host for host in plane.nova.hosts}
        self._meters = {host.name: meter.Meter(host)
                        for host in plane.nova.hosts}
        self._servers: dict[str, results.Server] = {}
        self._boots: list[results.Boot] = []
        self._turns: list[results.Turn] = []

    def run(self, file: pathlib.Path) -> results.Outcome:
        """Play the story.

        :param file: a qcow2 image.
        """
        with self._progress.step('glance', 'image uploaded (qcow2)'):
            self._image = self._plane.upload_image(file, 'qcow2', 'debian')
        self._flavor = self._nova.create_flavor('tiny')
        together(*(lambda host=host, names=names: self._begin(host, names)
                   for host, names in FIRST.items()))
        self._count_all()  # what the host knows of it goes with its servers
        together(*(lambda host=host, names=names: self._turn(
            host, names, self._move) for host, names in SECOND.items()))
        self._count_all()
        together(*(lambda name=name: self._delete(name)
                   for name in self._servers))
        with self._progress.step('cinder', 'volumes gone'):
            leftovers = self._leftovers()
        log = self._plane.log('cinder-volume').read_text()
        return results.Outcome(
            tuple(self._boots), tuple(self._turns),
            log.count(f'Imported image {self._image} '), tuple(leftovers))

    def _begin(self, host: str, names: tuple[str, ...]) -> None:
        for name in names:
            if name != names[0]:
                self._count(host)
            self._turn(host, (name,), self._create)

    def _turn(self, host: str, names: tuple[str, ...],
              come: Callable[[str, str], None]) -> None:
        """Have servers come to a host at once.

        What it reads from then on is to be counted.
        """
        self._turns.append(results.Turn(host, names))
        together(*(lambda name=name: come(host, name) for name in names))

    def _count_all(self) -> None:
        together(*(lambda host=host: self._count(host)
                   for host in self._hosts))

    def _count(self, host: str) -> None:
        """Add what a host read since the last call to its latest turn."""
        reading = self._meters[host].lap()
        number = max(number for number, turn in enumerate(self._turns)
                     if turn.host == host)
        turn = self._turns[number]
        self._turns[number] = dataclasses.replace(
            turn, reading=turn.reading + reading)

    def _create(self, host: str, name: str) -> None:
        began = time.monotonic()
        with self._progress.step(host, f'server {name} created: ACTIVE'):
            id = self._nova.create(
                name, self._flavor, image=self._image,
                volume_type=VOLUME_TYPE, host=host)
            self._nova.wait(id)
        self._servers[name] = results.Server(name, id)
        self._live(host, name, 1, began)

    def _move(self, host: str, name: str) -> None:
        began = time.monotonic()
        with self._progress.step(host, f'server {name} migrated: ACTIVE'):
            self._nova.migrate(self._servers[name].id, host)
        self._live(host, name, 2, began)

    def _live(self, where: str, name: str, boots: int, began: float) -> None:
        """See a server do its work.

        :param where: for the report of progress.
        :param boots: how many it must have had.
        :param began: when this one was asked for.
        """
        server = self._servers[name]
        active = time.monotonic() - began
        with self._progress.step(where, f'server {name} in its own userland'):
            guest.wait(self._nova, server.id,
                       lambda said: len(said.diary) >= boots)
        userland = time.monotonic() - began
        # What it reads over and over from now on, it has read once then.
        said = guest.wait(self._nova, server.id, lambda said: said.beats > 0)
        self._boots.append(results.Boot(
            server, self._nova.host(server.id), active, userland, said))

    def _delete(self, name: str) -> None:
        with self._progress.step('nova', f'server {name} deleted'):
            self._nova.delete(self._servers[name].id)

    def _leftovers(self) -> list[str]:
        """What is there yet, after some time if it must be."""
        deadline = time.monotonic() + CLEAN_TIMEOUT
        while left := [thing for part in together(
                self._volumes, self._on_storage,
                *(lambda host=host: self._on_host(host)
                  for host in self._hosts.values())) for thing in part]:
            if time.monotonic() > deadline:
                break
            time.sleep(1)
        return left

    def _volumes(self) -> list[str]:
        cinder = self._plane.volumes
        return [f'Cinder: volume {volume.id}, {volume.status}'
                for volume in cinder.volumes.list()] + [
                    f'Cinder: attachment {attachment.id}'
                    for attachment in cinder.attachments.list()]

    def _on_storage(self) -> list[str]:
        host = self._plane.storage
        return [f'{host.name}: {thing}' for thing in
                host.call(probe.backend_leftovers, VOLUME_GROUP)]

    def _on_host(self, host: lab.Host) -> list[str]:
        return [f'{host.name}: {thing}'
                for thing in host.call(probe.leftovers)]


def together(*functions: Callable[[], T]) -> list[T]:
    """Call functions at once and return what they return, in order.

    The first failure is raised at once; the others run on unattended.
    """
    pool = concurrent.futures.ThreadPoolExecutor(len(functions))
    futures = [pool.submit(function) for function in functions]
    pool.shutdown(wait=False)
    for future in concurrent.futures.as_completed(futures):
        future.result()
    return [future.result() for future in futures]
