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

"""Random sequences of what tenants do, against a model; on real kernels.

Each sequence follows from its seed. VMTHUNDER_MODEL_SEED is the first one's,
the next ones' follow; VMTHUNDER_MODEL_STEPS says how many steps all have
together.
"""

import os
import time
from typing import Any, Callable

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st

from tests.functional import base
from tests.functional import model
from tests.functional import modelcheck
from tests.functional import modelcontent
from tests.functional import modelhosts
from tests.functional import modelstorage
from tests.functional import test_host_stack
from tests.functional import test_lio

STEPS = int(os.environ.get('VMTHUNDER_MODEL_STEPS', '40'))
SEED = int(os.environ.get('VMTHUNDER_MODEL_SEED', '139'))
VERBOSE = bool(os.environ.get('VMTHUNDER_MODEL_VERBOSE'))
#: Most steps of a sequence.
LENGTH = 40
#: Most volumes, and most snapshots, at once; and their size.
MOST, LARGEST = 4, 3
SECTOR = modelcontent.SECTOR
CHUNK = 32  # sectors
EXTENT = (4 << 20) // SECTOR
GIB = model.GIB // SECTOR
#: Sectors from an interesting place, and of a write.
DISTANCES = (0, 0, 0, 1, -1, CHUNK, -CHUNK, CHUNK // 2, -3, CHUNK + 1)
COUNTS = (1, 2, 7, CHUNK, CHUNK, CHUNK + 1, 4 * CHUNK, 127, 2048, 8192)

Draw = Callable[[st.SearchStrategy[Any]], Any]
Call = Callable[[], Any]


class Broken(BaseException):
    """Something is not as in the model.

    No Exception, since hypothesis would do all of it again to tell about it.
    """


def image(number: int, kind: str, sectors: int,
          *written: tuple[int, int]) -> model.Image:
    """Return an image in which some ranges aren't zeroes."""
    return model.Image(
        f'model-{number}', kind, modelcontent.Content(
            sectors * SECTOR, tuple(
                # a number that no write has
                modelcontent.Run(first, count, number << 32)
                for first, count in written)))


#: One that fills no whole number of extents, nor of chunks; and one that
#: fills a volume.
IMAGES = (image(1, 'raw', EXTENT - 1, (0, 1500), (2011, EXTENT - 2012)),
          image(2, 'qcow2', GIB, (0, 1200), (GIB // 2 + 3, 700),
                (GIB - 333, 333)))


class Machine(stateful.RuleBasedStateMachine):
    """One sequence.

    Which operation comes next is drawn here rather than by having a rule for
    each: hypothesis would leave a random half of them out of each sequence.
    """

    cloud: model.Cloud
    seed: int

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []
        self.broken = False

    @stateful.initialize(used=st.integers(0, 1000))
    def begin(self, used: int) -> None:
        # The first attempt of hypothesis is always the simplest one.
        hypothesis.assume(used)

    @stateful.rule(data=st.data())
    def step(self, data: Any) -> None:
        name = data.draw(st.sampled_from(self.possible()))
        call = getattr(self, name)(data.draw)

        def do() -> None:
            call()
            self.cloud.check()
        self.guarded(do)

    def teardown(self) -> None:
        if self.steps and not self.broken:
            self.steps.append('end')
            self.guarded(self.end)

    def end(self) -> None:
        self.cloud.check_all()
        self.cloud.end()

    def guarded(self, call: Callable[[], None]) -> None:
        """Do something; tell how it came to it if that fails."""
        begin = time.monotonic()
        try:
            call()
        except Exception as error:
            self.broken = True
            self.cloud.clean_up()
            told = '\n'.join(self.steps)
            raise Broken(f'Seed {self.seed}, the last of these steps:\n'
                         f'{told}\n{error!r}') from error
        self.steps[-1] += f'  # {time.monotonic() - begin:.1f} s'
        if VERBOSE:
            print(self.steps[-1], flush=True)

    def possible(self) -> list[str]:
        """Return what may be done now; more often what is there twice."""
        cloud = self.cloud
        room = len(cloud.volumes) < MOST
        weights = {
            'create': 2 * room,
            'clone': 2 * bool(room and cloud.volumes),
            'from_snapshot': 2 * bool(room and cloud.snapshots),
            'snapshot': 2 * bool(cloud.volumes and
                                 len(cloud.snapshots) < MOST),
            'extend': 2 * bool(self.extendable()),
            'revert': 2 * bool(self.revertible()),
            'attach': 4 * bool(cloud.free),
            'write': 8 * bool(cloud.attached),
            **dict.fromkeys(('move', 'detach', 'attach_refused', 'restart'),
                            bool(cloud.attached)),
            'reimage': bool(cloud.free),
            'delete': bool(self.deletable()),
            'delete_snapshot': bool(cloud.snapshots),
            'tidy_up': bool(cloud.volumes)}
        return [name for name, weight in weights.items()
                for _ in range(weight)]

    def deletable(self) -> list[model.Volume]:
        return [volume for volume in self.cloud.free
                if not self.cloud.snapshots_of(volume)]

    def extendable(self) -> list[model.Volume]:
        return [volume for volume in self.cloud.volumes
                if volume.gib < LARGEST]

    def revertible(self) -> list[model.Snapshot]:
        return [snapshot for snapshot in self.cloud.snapshots
                if not snapshot.volume.host]

    def create(self, draw: Draw) -> Call:
        chosen, gib = draw(st.sampled_from(IMAGES)), draw(st.integers(1, 2))
        return self.noted(self.cloud.create, chosen, gib)

    def snapshot(self, draw: Draw) -> Call:
        return self.noted(self.cloud.snapshot, self.volume(draw))

    def from_snapshot(self, draw: Draw) -> Call:
        snapshot = draw(st.sampled_from(self.cloud.snapshots))
        return self.noted(self.cloud.from_snapshot, snapshot,
                          draw(st.integers(snapshot.gib, LARGEST)))

    def clone(self, draw: Draw) -> Call:
        volume = self.volume(draw)
        return self.noted(self.cloud.clone, volume,
                          draw(st.integers(volume.gib, LARGEST)))

    def extend(self, draw: Draw) -> Call:
        volume = draw(st.sampled_from(self.extendable()))
        return self.noted(self.cloud.extend, volume,
                          draw(st.integers(volume.gib + 1, LARGEST)))

    def revert(self, draw: Draw) -> Call:
        return self.noted(self.cloud.revert,
                          draw(st.sampled_from(self.revertible())))

    def reimage(self, draw: Draw) -> Call:
        return self.noted(self.cloud.reimage,
                          draw(st.sampled_from(self.cloud.free)),
                          draw(st.sampled_from(IMAGES)))

    def delete(self, draw: Draw) -> Call:
        return self.noted(self.cloud.delete,
                          draw(st.sampled_from(self.deletable())))

    def delete_snapshot(self, draw: Draw) -> Call:
        return self.noted(self.cloud.delete,
                          draw(st.sampled_from(self.cloud.snapshots)))

    def attach(self, draw: Draw) -> Call:
        volume = draw(st.sampled_from(self.cloud.free))
        return self.noted(self.cloud.attach, volume, *self.place(draw))

    def detach(self, draw: Draw) -> Call:
        return self.noted(self.cloud.detach, self.attached(draw))

    def move(self, draw: Draw) -> Call:
        return self.noted(self.cloud.move, self.attached(draw),
                          *self.place(draw))

    def attach_refused(self, draw: Draw) -> Call:
        return self.noted(self.cloud.attach_refused, self.attached(draw),
                          draw(st.booleans()))

    def write(self, draw: Draw) -> Call:
        """Write a few times, to any volumes that are attached."""
        writes = []
        for _ in range(draw(st.integers(1, 6))):
            volume = self.attached(draw)
            writes.append((volume, self.run(draw, volume.content)))
        return self.noted(self.cloud.write, writes)

    def run(self, draw: Draw, content: modelcontent.Content
            ) -> modelcontent.Run:
        """Draw a write that begins or ends near an interesting place."""
        place = draw(st.sampled_from(edges(content)))
        count = draw(st.sampled_from(COUNTS))
        first = place + draw(st.sampled_from(DISTANCES))
        if draw(st.booleans()):
            first -= count
        zeroes = draw(st.sampled_from((False,) * 7 + (True,)))
        first = max(0, min(first, content.sectors - 1))
        return modelcontent.Run(
            first, min(count, content.sectors - first),
            modelcontent.ZEROES if zeroes else self.cloud.new_number())

    def tidy_up(self, draw: Draw) -> Call:
        return self.noted(self.cloud.tidy_up)

    def restart(self, draw: Draw) -> Call:
        return self.noted(self.cloud.restart)

    def volume(self, draw: Draw) -> model.Volume:
        return draw(st.sampled_from(self.cloud.volumes))

    def attached(self, draw: Draw) -> model.Volume:
        return draw(st.sampled_from(self.cloud.attached))

    def place(self, draw: Draw) -> tuple[Any, bool]:
        """Draw a host and whether it lacks VMThunder."""
        return (draw(st.sampled_from(self.cloud.hosts)),
                draw(st.sampled_from((False, False, True))))

    def noted(self, function: Callable[..., Any], *args: Any) -> Call:
        """Note what is about to be called, and then what it made."""
        what = f'{function.__name__}({", ".join(map(_short, args))})'
        self.steps.append(what)

        def call() -> None:
            made = function(*args)
            if made:
                self.steps[-1] = f'{made} = {what}'
        return call


def _short(each: Any) -> str:
    if isinstance(each, list):
        return ' '.join(f'{volume} {run.first}+{run.count}={run.number}'
                        for volume, run in each)
    return str(getattr(each, 'name', each))


def edges(content: modelcontent.Content) -> list[int]:
    """Return sectors at which something begins or ends."""
    inside = [sector for run in content.runs
              for sector in (run.first, run.end)]
    return sorted({0, content.sectors, EXTENT, GIB, 333 * CHUNK,
                   content.sectors // 2, *inside})


class ModelTest(base.FunctionalTestCase):

    LIMIT = 900 + 60 * STEPS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        specs = (test_lio.STORAGE, *test_host_stack.COMPUTE)
        cls.storage, *cls.hosts = base.together(*(
            lambda spec=spec: base.get_host(spec) for spec in specs))
        base.together(
            cls.prepare_storage,
            *(lambda host=host: host.preload(*modelhosts.MODULES)
              for host in cls.hosts))

    @classmethod
    def prepare_storage(cls):
        cls.storage.preload(*modelcheck.MODULES)
        cls.storage.call(modelstorage.prepare, cls.storage.disk('pv'),
                         [(image.id, image.kind, image.content)
                          for image in IMAGES])

    def test_sequences(self):
        connectors = {host: host.call(modelhosts.connector, host.name)
                      for host in self.hosts}
        for number in range(-(-STEPS // LENGTH)):
            seed = SEED + number
            Machine.seed = seed
            Machine.cloud = model.Cloud(self.storage, connectors, seed)
            self.run_one(seed, min(LENGTH, STEPS - number * LENGTH))

    def run_one(self, seed, steps):
        print(f'Model: {steps} steps, seed {seed}', flush=True)
        settings = hypothesis.settings(
            max_examples=1, stateful_step_count=steps + 1, deadline=None,
            database=None, phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck))
        try:
            stateful.run_state_machine_as_test(
                hypothesis.seed(seed)(Machine), settings=settings)
        except Broken as broken:
            self.fail(str(broken))
