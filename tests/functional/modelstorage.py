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

"""What the model test does on the storage host; all runs there."""

import dataclasses
import subprocess
from typing import Any, Sequence

from cinder import context

from cinder_vmthunder import exception
from cinder_vmthunder import templates
from tests.functional import modelcontent
from tests.functional import modelhosts
from tests.functional import operations
from tests.functional import storage
from tests.functional import volumes

#: Templates go with their last diff, so that one that goes too early shows.
_OPTIONS: dict[str, Any] = {'vmthunder_template_retention': 0}
Connector = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Deletion:
    """A volume or, with a snapshot's id, one of its snapshots.

    :ivar needed: images whose templates must be there afterwards.
    """

    volume_id: str
    snapshot_id: str | None
    needed: frozenset[str]


def prepare(disk: str, images: Sequence[
        tuple[str, str, modelcontent.Content]]) -> None:
    """Make the host a storage host, and Glance have images."""
    volumes.prepare(disk)
    for image in images:
        modelhosts.add_image(volumes.IMAGES, *image)


def create(volume_id: str, image_id: str, size: int) -> None:
    assert volumes.create(volume_id, image_id, size, **_OPTIONS)


def run(name: str, *args: Any) -> None:
    """Do what Cinder's manager does, see :mod:`.operations`."""
    operations.run(name, *args, **_OPTIONS)


def attach_refused(volume_id: str, connector: Connector) -> None:
    """Have the driver refuse a second host."""
    try:
        volumes.attach(volume_id, connector)
    except exception.AttachedElsewhere:
        return
    raise AssertionError(f'{volume_id} is on two hosts')


def restart(attached: Sequence[tuple[str, Connector]]) -> None:
    """Do what cinder-volume does at its start with attached volumes."""
    made = _driver()
    for volume_id, connector in attached:
        made.ensure_export(context.get_admin_context(),
                           volumes.stored(volume_id, connector))


def tidy_up(needed: frozenset[str]) -> list[str]:
    """Run the periodic pass; return what is wrong afterwards."""
    made = _driver()
    operations.tidy_up(made)
    made._templates.collect(made._group.volumes())
    there = templates_of(made)
    return ([] if set(there) == needed else
            [f'templates of {sorted(there)} instead of {sorted(needed)}'])


def delete_all(deletions: Sequence[Deletion]) -> list[str]:
    """Delete in this order; return what is wrong meanwhile."""
    made, wrong = _driver(), []
    for deletion in deletions:
        if deletion.snapshot_id:
            operations.delete_snapshot(made, deletion.volume_id,
                                       deletion.snapshot_id)
        else:
            operations.delete(made, deletion.volume_id)
        there = templates_of(made)
        wrong += [f'no template of {image} after {deletion}'
                  for image in deletion.needed - set(there)]
    return wrong


def leftovers() -> list[str]:
    """Return all that volumes make here and that is still there."""
    left = [f'LV {name}' for name in volumes.volumes()]
    left += [f'LIO {name}' for name in volumes.lio_objects()]
    left += volumes.remains()
    devices = subprocess.run(['dmsetup', 'ls'], capture_output=True,
                             check=True, text=True).stdout
    left += [f'dm {line.split()[0]}' for line in devices.splitlines()
             if '-pool' not in line and 'No devices' not in line]
    return left + storage.exports()


def templates_of(made: volumes.driver.VMThunderDriver) -> dict[str, str]:
    """Return the LVs of templates by their image."""
    return {template.image_id: template.name
            for template in templates.find(made._group.volumes())}


def _driver() -> volumes.driver.VMThunderDriver:
    return volumes.make_driver(**_OPTIONS)
