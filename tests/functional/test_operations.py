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

"""Each operation killed after every single step, then run again.

The right result, and nothing left of the first try.
"""

import dataclasses
import uuid

from tests.functional import base
from tests.functional import content
from tests.functional import operations
from tests.functional import steps
from tests.functional import test_lio
from tests.functional import test_templates
from tests.functional import volumes

MIB = 1 << 20
SIZE = 66 * MIB - 512  # not a whole number of extents
OTHER_SIZE = 33 * MIB
ONE, TWO = b'one ' * 100, b'two ' * 100
PLAIN = {'initiator': test_templates.A['initiator'], 'host': 'host-a'}


def _new_ids(number):
    return [str(uuid.uuid4()) for _ in range(number)]


def _snapshots(killer, image, other_image, mode):
    volume, snapshot, larger = _new_ids(3)
    held = content.Content(image, SIZE, text=ONE)
    killer.run('create', volume, image, mode)
    operations.write(killer.made, volume, ONE)
    killer.run('snapshot', volume, snapshot)
    operations.write(killer.made, volume, TWO)
    killer.run('from_snapshot', volume, snapshot, larger, 2)
    killer.check(larger, dataclasses.replace(held, size=2))
    killer.run('revert', volume, snapshot)
    killer.check(volume, held)
    killer.run('delete_snapshot', volume, snapshot)
    killer.run('delete', larger)
    killer.run('delete', volume)


def _copies(killer, image, other_image, mode):
    volume, copy = _new_ids(2)
    held = content.Content(image, SIZE, 2, ONE)
    killer.run('create', volume, image, mode)
    operations.write(killer.made, volume, ONE)
    killer.run('clone', volume, copy, 2)
    killer.check(copy, held)
    killer.run('extend', volume, 3)
    killer.check(volume, dataclasses.replace(held, size=3))
    killer.run('reimage', copy, other_image)
    killer.check(copy, content.Content(other_image, OTHER_SIZE, 2))
    killer.run('delete', copy)
    killer.run('delete', volume)


def _attachments(killer, image, other_image, mode):
    (volume,) = _new_ids(1)
    held = content.Content(image, SIZE, 1)
    device = f'/dev/mapper/vmthunder-assembly-volume-{volume}'
    killer.run('create', volume, image, mode)
    killer.run('attach', volume, PLAIN)
    content.write(device, ONE)
    killer.check(volume, dataclasses.replace(held, text=ONE), device)
    held = dataclasses.replace(held, size=2, text=ONE)
    killer.run('extend', volume, 2)
    killer.check(volume, held, device)
    killer.run('look', volume, held)
    killer.run('detach', volume, PLAIN)
    killer.run('attach', volume, test_templates.A)
    killer.run('detach', volume, test_templates.A)
    killer.check(volume, held)
    killer.run('delete', volume)


def _abandoned(killer, image, other_image, mode):
    """What died isn't run again, as when Cinder is told to forget it."""
    volume, copy, snapshot = _new_ids(3)
    killer.run('create', volume, image, mode)
    operations.write(killer.made, volume, ONE)
    killer.run('snapshot', volume, snapshot)
    killer.abandon('look', volume, content.Content(image, SIZE, text=ONE))
    killer.abandon('clone', volume, copy, 2)
    killer.run('delete', copy)
    killer.abandon('revert', volume, snapshot)
    operations.tidy_up(killer.made)
    killer.check(volume, content.Content(image, SIZE, text=ONE))
    killer.abandon('attach', volume, PLAIN)
    killer.run('delete', volume)
    killer.run('delete_snapshot', volume, snapshot)


class KilledTestCase(base.FunctionalTestCase):

    MODE = 'dm'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.storage = base.get_host(test_lio.STORAGE)
        cls.storage.preload(*volumes.MODULES, __name__)
        cls.call(volumes.prepare, cls.storage.disk('pv'))
        cls.images = []
        for size in (SIZE, OTHER_SIZE):
            image, volume = f'image-{uuid.uuid4()}', str(uuid.uuid4())
            cls.call(volumes.add_image, image, 'raw', size)
            # templates stay, and their import is tested with them
            cls.call(volumes.create, volume, image)
            cls.call(volumes.delete, volume)
            cls.images.append(image)

    @classmethod
    def tearDownClass(cls):
        cls.call(volumes.tidy_up, vmthunder_template_retention=0)
        super().tearDownClass()

    @classmethod
    def call(cls, function, *args, **keywords):
        return cls.storage.call(function, *args, timeout=400, **keywords)

    def kill_everywhere(self, sequence):
        step, ended = steps.first(), False
        while not ended:
            report = self.call(operations.kill, step, sequence, *self.images,
                               self.MODE)
            self.assertEqual([], report.wrong, f'step {step}')
            ended = report.ended
            step += steps.STRIDE
        self.assertGreater(step, 3)


class KilledTest(KilledTestCase):

    def test_snapshots(self):
        self.kill_everywhere(_snapshots)

    def test_copies(self):
        self.kill_everywhere(_copies)

    def test_attachments(self):
        self.kill_everywhere(_attachments)

    def test_abandoned(self):
        self.kill_everywhere(_abandoned)


class KilledOverlayTest(KilledTestCase):
    """Snapshots and reverting only change LVs, in either mode."""

    MODE = 'vmm'

    def test_copies(self):
        self.kill_everywhere(_copies)

    def test_attachments(self):
        self.kill_everywhere(_attachments)
