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

"""A model of volumes, and the lab's hosts doing the same.

See :mod:`.test_model`. Every operation first happens on the hosts and then
to the model.
"""

import contextlib
import dataclasses
import random
from typing import Any, Callable, TypeVar
import uuid

from tests.functional import base
from tests.functional import compute
from tests.functional import modelcheck
from tests.functional import modelcontent
from tests.functional import modelhosts
from tests.functional import modelstorage
from tests.functional import volumes
from tests import lab

GIB = 1 << 30
_NAMESPACE = uuid.UUID('a2a1b8a5-9c52-4a2f-8a4e-0f6b7f8f4c11')
#: Attaching takes seconds; much more on a busy machine.
_TIMEOUT = 240

T = TypeVar('T')


@dataclasses.dataclass(frozen=True)
class Image:
    """An image, and what its disk holds."""

    id: str
    kind: str
    content: modelcontent.Content

    @property
    def name(self) -> str:
        return self.id


@dataclasses.dataclass(eq=False)
class Snapshot:
    """A snapshot, and what it holds.

    :ivar volume: whose it is.
    :ivar image: whose template is below it.
    """

    id: str
    name: str
    volume: 'Volume'
    image: Image
    content: modelcontent.Content

    def __str__(self) -> str:
        return self.name

    @property
    def lv(self) -> str:
        return f'_snapshot-{self.id}'

    @property
    def gib(self) -> int:
        return self.content.size // GIB


@dataclasses.dataclass(eq=False)
class Volume:
    """A volume, what it holds, and who has it.

    :ivar image: whose template is below it.
    :ivar host: who has it attached; it and the next are None if nobody.
    :ivar connector: what the host said.
    :ivar info: what it was told.
    :ivar path: its device there.
    """

    id: str
    name: str
    image: Image
    content: modelcontent.Content
    host: lab.Host | None = None
    connector: dict[str, Any] | None = None
    info: dict[str, Any] | None = None
    path: str = ''

    def __str__(self) -> str:
        return self.name

    @property
    def lv(self) -> str:
        return f'volume-{self.id}'

    @property
    def gib(self) -> int:
        return self.content.size // GIB


class Cloud:
    """A storage host, compute hosts, and what they should hold.

    :param hosts: compute hosts and the connector of each.
    :param seed: of what the volumes are called and where checks look.
    """

    def __init__(self, storage: lab.Host,
                 hosts: dict[lab.Host, dict[str, Any]], seed: int) -> None:
        self._storage = storage
        self._hosts = hosts
        self._seed = seed
        self._chance = random.Random(seed)
        self._made = 0
        self.volumes: list[Volume] = []
        self.snapshots: list[Snapshot] = []

    @property
    def hosts(self) -> list[lab.Host]:
        return list(self._hosts)

    @property
    def attached(self) -> list[Volume]:
        return [volume for volume in self.volumes if volume.host]

    @property
    def everything(self) -> list[Volume | Snapshot]:
        return [*self.volumes, *self.snapshots]

    @property
    def free(self) -> list[Volume]:
        return [volume for volume in self.volumes if not volume.host]

    def snapshots_of(self, volume: Volume) -> list[Snapshot]:
        return [snapshot for snapshot in self.snapshots
                if snapshot.volume is volume]

    # Volumes and snapshots

    def create(self, image: Image, gib: int) -> Volume:
        volume = self._new_volume(image, image.content, gib)
        self._on_storage(modelstorage.create, volume.id, image.id, gib)
        self.volumes.append(volume)
        return volume

    def snapshot(self, volume: Volume) -> Snapshot:
        snapshot = Snapshot(*self._new_id('snapshot'), volume, volume.image,
                            volume.content)
        self._on_storage(modelstorage.run, 'snapshot', volume.id, snapshot.id)
        self.snapshots.append(snapshot)
        return snapshot

    def from_snapshot(self, snapshot: Snapshot, gib: int) -> Volume:
        volume = self._new_volume(snapshot.image, snapshot.content, gib)
        self._on_storage(modelstorage.run, 'from_snapshot', snapshot.volume.id,
                         snapshot.id, volume.id, gib)
        self.volumes.append(volume)
        return volume

    def clone(self, source: Volume, gib: int) -> Volume:
        volume = self._new_volume(source.image, source.content, gib)
        self._on_storage(modelstorage.run, 'clone', source.id, volume.id, gib)
        self.volumes.append(volume)
        return volume

    def extend(self, volume: Volume, gib: int) -> None:
        self._on_storage(modelstorage.run, 'extend', volume.id, gib)
        if volume.host:
            self._call(volume.host, modelhosts.extended, volume.info,
                       volume.path)
        volume.content = volume.content.resized(gib * GIB)

    def revert(self, snapshot: Snapshot) -> None:
        volume = snapshot.volume
        self._on_storage(modelstorage.run, 'revert', volume.id, snapshot.id)
        volume.image = snapshot.image
        volume.content = snapshot.content.resized(volume.content.size)

    def reimage(self, volume: Volume, image: Image) -> None:
        self._on_storage(modelstorage.run, 'reimage', volume.id, image.id)
        volume.image = image
        volume.content = image.content.resized(volume.content.size)

    def delete(self, each: Volume | Snapshot) -> None:
        self._delete([self._forget(each)])

    def tidy_up(self) -> None:
        self._found_wrong(self._on_storage(modelstorage.tidy_up,
                                           self._needed()))

    def restart(self) -> None:
        """Restart cinder-volume."""
        self._on_storage(modelstorage.restart, [
            (volume.id, volume.connector) for volume in self.attached])

    # Attachments

    def attach(self, volume: Volume, host: lab.Host, plain: bool) -> None:
        connector = self._connector(host, plain)
        info = self._on_storage(volumes.attach, volume.id, connector)
        volume.path = self._call(host, modelhosts.connect, info)
        volume.host, volume.connector, volume.info = host, connector, info

    def detach(self, volume: Volume) -> None:
        assert volume.host
        self._call(volume.host, modelhosts.disconnect, volume.info)
        self._on_storage(volumes.detach, volume.id, volume.connector)
        volume.host = volume.connector = volume.info = None

    def move(self, volume: Volume, host: lab.Host, plain: bool) -> None:
        self.detach(volume)
        self.attach(volume, host, plain)

    def attach_refused(self, volume: Volume, plain: bool) -> None:
        """Try to attach a volume to one more host."""
        (other,) = (host for host in self._hosts if host != volume.host)
        self._on_storage(modelstorage.attach_refused, volume.id,
                         self._connector(other, plain))

    def write(self, writes: list[tuple[Volume, modelcontent.Run]]) -> None:
        for volume, run in writes:
            volume.content = volume.content.written(run)
        self._on_hosts(lambda host: self._call(host, modelhosts.write, [
            (volume.path, run) for volume, run in writes
            if volume.host is host]))

    def new_number(self) -> int:
        """Return the number for a write."""
        self._made += 1
        return self._made

    # Checks

    def check(self) -> None:
        """Compare attached volumes with the model."""
        seed = self._chance.randrange(1 << 30)
        self._found_wrong(sum(self._on_hosts(lambda host: self._call(
            host, modelhosts.check, [
                (volume.path, volume.content) for volume in self.volumes
                if volume.host is host], seed)), []))

    def check_all(self) -> None:
        """Compare everything, one volume also on its host as a whole."""
        expected = [modelcheck.Expected(
            each.lv, each.content, each.image.id, each.image.content)
            for each in self.everything]
        self._found_wrong(self._on_storage(
            modelcheck.check, expected, self._chance.randrange(1 << 30)))
        if self.attached:
            volume = self._chance.choice(self.attached)
            assert volume.host
            self._found_wrong(self._call(
                volume.host, modelhosts.check_all, volume.path,
                volume.content))

    def end(self) -> None:
        """Delete all, in any order, and see that nothing is left."""
        for volume in self._chance.sample(self.attached,
                                          len(self.attached)):
            self.detach(volume)
        order = []
        while self.everything:
            order.append(self._forget(self._chance.choice([
                each for each in self.everything
                if isinstance(each, Snapshot)
                or not self.snapshots_of(each)])))
        self._delete(order)
        self._found_wrong(self._on_storage(modelstorage.tidy_up,
                                           frozenset()))
        self._found_wrong(self._on_storage(modelstorage.leftovers))
        self._found_wrong(sum(base.together(*(
            lambda host=host: self._call(host, compute.leftovers)
            for host in self._hosts)), []))

    def clean_up(self) -> None:
        """Leave as little as possible of what failed to other tests."""
        for volume in self.attached:
            with contextlib.suppress(Exception):
                self.detach(volume)
        with contextlib.suppress(Exception):
            self.end()

    def _new_volume(self, image: Image, content: modelcontent.Content,
                    gib: int) -> Volume:
        return Volume(*self._new_id('volume'), image,
                      content.resized(gib * GIB))

    def _new_id(self, kind: str) -> tuple[str, str]:
        name = f'{kind}-{self.new_number()}'
        return str(uuid.uuid5(_NAMESPACE, f'{self._seed}/{name}')), name

    def _forget(self, each: Volume | Snapshot) -> modelstorage.Deletion:
        """Delete something from the model; return how to delete it."""
        if isinstance(each, Snapshot):
            self.snapshots.remove(each)
            return modelstorage.Deletion(each.volume.id, each.id,
                                         self._needed())
        self.volumes.remove(each)
        return modelstorage.Deletion(each.id, None, self._needed())

    def _needed(self) -> frozenset[str]:
        return frozenset(each.image.id for each in self.everything)

    def _delete(self, order: list[modelstorage.Deletion]) -> None:
        self._found_wrong(self._on_storage(modelstorage.delete_all, order))

    def _on_storage(self, function: Callable[..., T], *args: Any) -> T:
        return self._call(self._storage, function, *args)

    def _on_hosts(self, call: Callable[[lab.Host], T]) -> list[T]:
        """Call a function for the hosts that have volumes, at once."""
        hosts = {volume.host for volume in self.attached if volume.host}
        return base.together(*(lambda host=host: call(host)
                               for host in hosts)) if hosts else []

    def _call(self, host: lab.Host, function: Callable[..., T],
              *args: Any) -> T:
        return host.call(function, *args, timeout=_TIMEOUT)

    def _connector(self, host: lab.Host, plain: bool) -> dict[str, Any]:
        connector = dict(self._hosts[host])
        if plain:
            del connector['vmthunder']
        return connector

    def _found_wrong(self, found: list[str]) -> None:
        if found:
            raise AssertionError('\n'.join(found))
