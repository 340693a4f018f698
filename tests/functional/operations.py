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

"""What Cinder's manager does with a volume that exists, on a storage host.

See ``volumes``: every call may be made, and killed, in a process of its own.
Snapshots are known by their id and their volume's.
"""

import contextlib
import dataclasses
import os
import signal
import traceback
import types
from typing import Any, Callable, Iterator
from unittest import mock

from cinder import context
from os_brick_vmthunder import devicemapper as dm

from cinder_vmthunder import diffs
from cinder_vmthunder import layers
from cinder_vmthunder import templates
from tests.functional import content
from tests.functional import steps
from tests.functional import volumes

Driver = volumes.driver.VMThunderDriver

# Steps that aren't the driver's: LIO's are tested with LIO, and the other
# directories are there already, or what stands for Cinder's database.
_OTHERS = ('/sys/kernel/config/target', '/etc/target', f"{volumes.STATE}'",
           f'{volumes.STATE}/volumes')


class Snapshot(types.SimpleNamespace):
    """As much of a snapshot as the driver looks at."""

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)


def _snapshot(snapshot_id: str, volume_id: str) -> Snapshot:
    volume = volumes.stored(volume_id)
    return Snapshot(id=snapshot_id, name=f'snapshot-{snapshot_id}',
                    volume=volume, volume_name=volume.name,
                    volume_size=volume.size)


def _diff(made: Driver, volume_id: str) -> diffs.Diff:
    diff = made._diff(f'volume-{volume_id}')
    assert diff
    return diff


def create(made: Driver, volume_id: str, image_id: str,
           mode: str | None = None) -> None:
    assert volumes.clone_image(made, volume_id, image_id, mode=mode)


def snapshot(made: Driver, volume_id: str,
             snapshot_id: str) -> None:
    made.create_snapshot(_snapshot(snapshot_id, volume_id))


def delete_snapshot(made: Driver, volume_id: str,
                    snapshot_id: str) -> None:
    made.delete_snapshot(_snapshot(snapshot_id, volume_id))


def from_snapshot(made: Driver, volume_id: str,
                  snapshot_id: str, new_id: str, size: int = 1) -> None:
    new = volumes.volume_of(new_id, size)
    volumes.store(new)
    made.create_volume_from_snapshot(new, _snapshot(snapshot_id, volume_id))


def clone(made: Driver, volume_id: str, new_id: str,
          size: int = 1) -> None:
    new = volumes.volume_of(new_id, size)
    volumes.store(new)
    made.create_cloned_volume(new, volumes.stored(volume_id))


def revert(made: Driver, volume_id: str,
           snapshot_id: str) -> None:
    made.revert_to_snapshot(context.get_admin_context(),
                            volumes.stored(volume_id),
                            _snapshot(snapshot_id, volume_id))


def extend(made: Driver, volume_id: str, size: int) -> None:
    volume = volumes.stored(volume_id)
    made.extend_volume(volume, size)
    volumes.store(volume, size=size)


def reimage(made: Driver, volume_id: str,
            image_id: str) -> None:
    made.copy_image_to_volume(
        context.get_admin_context(), volumes.stored(volume_id),
        volumes.ImageService(), image_id)


def attach(made: Driver, volume_id: str,
           connector: dict[str, Any]) -> dict[str, Any]:
    return volumes.attach(volume_id, connector, made)


def detach(made: Driver, volume_id: str,
           connector: dict[str, Any] | None) -> None:
    volumes.detach(volume_id, connector, made)


def delete(made: Driver, volume_id: str) -> None:
    volumes.delete(volume_id, made)


def look(made: Driver, volume_id: str,
         wanted: content.Content) -> list[str]:
    """Compare a volume as uploading it does, see ``content``."""
    with made._assemblies.view(_diff(made, volume_id)) as path:
        return content.differences(path, wanted)


def run(name: str, *args: Any, **options: Any) -> Any:
    """Call one of the functions above with a driver.

    :param options: of the backend.
    """
    return globals()[name](volumes.make_driver(**options), *args)


def tidy_up(made: Driver | None = None) -> None:
    """Let only that part of the periodic pass run that is about leftovers.

    :param made: a driver, if there is one.
    """
    made = made or volumes.make_driver()
    found = made._group.volumes()
    made._diffs.collect(found)
    made._exports.collect(found)


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of operations that died before a step.

    :ivar ended: none died, since none has so many steps.
    :ivar wrong: what was not as it should be.
    """

    ended: bool
    wrong: list[str]


class Killer:
    """Operations that die before a step of theirs, and then run again.

    :param step: counted from 0.
    """

    def __init__(self, step: int) -> None:
        self._step = step
        self._ended = True
        self._unseen = False
        self._wrong: list[str] = []
        self.made = volumes.make_driver()
        # what the LVM driver asks when it is to delete what isn't there
        self.made.vg = types.SimpleNamespace(
            get_volume=self.made._group.get)

    def run(self, name: str, *args: Any) -> None:
        """Let a function of this module die, and then run it."""
        function = globals()[name]
        if _dies(self._step, function, self.made, *args):
            function(self.made, *args)
            self._ended, self._unseen = False, True

    def abandon(self, name: str, *args: Any) -> None:
        """Let a function of this module die, and nobody run it again."""
        if _dies(self._step, globals()[name], self.made, *args):
            self._ended, self._unseen = False, True

    def check(self, volume_id: str, wanted: content.Content,
              device: str | None = None) -> None:
        """Note what of a volume is wrong, if anything died since last time.

        :param device: of the volume; None if nobody has it.
        """
        if not self._unseen:
            return
        self._unseen = False
        with (contextlib.nullcontext(device) if device else
              opened(self.made, volume_id)) as path:
            self._wrong += [f'{wanted}: {found}'
                            for found in content.differences(path, wanted)]

    def report(self) -> Report:
        """Return what became of it all, and see what is left of it."""
        tidy_up(self.made)
        left = [f'left: {name}' for name in leftovers()]
        return Report(self._ended, self._wrong + left)


def kill(step: int, sequence: Callable[..., None], *args: Any) -> Report:
    """Let each operation of a sequence die before a step.

    In one process, since starting one for each operation is what costs most.

    :param sequence: called with a :class:`Killer`.
    """
    killer = Killer(step)
    sequence(killer, *args)
    return killer.report()


def _dies(step: int, function: Callable[..., Any], *args: Any) -> bool:
    """Run a function in a process that dies before a step, see ``steps``.

    :returns: whether it died.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        failure = ''
        try:
            with mock.patch.object(steps, '_UNINTERESTING', (
                    *steps._UNINTERESTING, *_OTHERS)):
                steps.run(step, function, *args)
        except BaseException:
            failure = traceback.format_exc()
        os.write(writer, failure.encode())
        os._exit(bool(failure))
    os.close(writer)
    with open(reader) as file:
        failure = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise AssertionError(f'step {step} of {function.__name__}: {failure}')
    return status != 0


@contextlib.contextmanager
def opened(made: Driver, volume_id: str) -> Iterator[str]:
    """Put a volume together that nobody has, by as few commands as will do.

    :returns: path of its device.
    """
    diff = _diff(made, volume_id)
    filled = diff.template_size // 512
    size = diff.volume_size // 512
    template = made._group.activate(templates.name_of(diff.template_id))
    origin = dm.create('test-origin', 'TEST-origin', [
        dm.Linear(0, filled, template), dm.Zero(filled, size - filled)], True)
    try:
        yield layers.make(made._diffs)[diff.mode].build(diff, 'test', 'TEST',
                                                        origin)
    finally:
        layers.remove('test')
        dm.remove('test-origin')


def write(made: Driver, volume_id: str,
          text: bytes) -> None:
    """Write a text to several places of a volume that nobody has."""
    with opened(made, volume_id) as path:
        content.write(path, text)


def leftovers() -> list[str]:
    """Return all that volumes make on the host, and that is still there.

    Templates are not counted.
    """
    left = [name for name in volumes.volumes()
            if not name.startswith(templates.PREFIX)]
    left += [device.name for device in dm.devices()
             if device.name.startswith(('vmthunder', 'test'))]
    left += [str(path) for path in volumes.STATE.glob('*view*')]
    return left + volumes.lio_objects() + volumes.remains()
