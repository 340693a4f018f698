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

"""Making a volume from an image, beside a blank one of stock thin LVM.

The image is there already: what is imported once isn't what users wait for.
Everything is done by a driver that lives on, as cinder-volume's does.
"""

import json
import subprocess
from typing import Any
import uuid

from cinder import context

from tests.bench import cost
from tests.bench import results
from tests.functional import base
from tests.functional import volumes
from tests import lab
from tests.lab import host as lab_host

GIB = 1 << 30
STORAGE = lab.HostSpec('bench-backend', 71, memory=512,
                       disks={'pv': 64 * GIB}, extra_addresses=(72,),
                       services=())
#: Of images and of the volumes made from them, in GiB.
_SIZES = (1, 20)
_DATA = 16 << 20
_GOAL = results.at_most(1.2)
_TIMEOUT = 900


def run(rounds: int) -> list[results.Figure]:
    """Make volumes of images of some sizes and blank ones by turns."""
    storage = get_storage('tests.bench.create')
    figures = []
    for size in _SIZES:
        pairs = storage.call(measure_here, size, rounds, timeout=_TIMEOUT)
        ours, stock = zip(*pairs)
        figures += cost.figures(f'create from a {size} GiB image',
                                ours, stock, _GOAL)
    return figures


def get_storage(*modules: str) -> lab_host.Host:
    """The lab's storage host, started when first asked for.

    :param modules: that the caller calls there.
    """
    storage = base.get_host(STORAGE)
    storage.preload(*volumes.MODULES, *modules)
    storage.call(volumes.prepare, storage.disk('pv'))
    return storage


def measure_here(size: int, rounds: int
                 ) -> list[tuple[cost.Cost, cost.Cost]]:
    """Return what both cost in each round."""
    made = volumes.make_driver(True)
    image = f'image-{size}'
    add_image(image, size)
    # imports the image
    clone(made, _volume(size), image)
    costs = [(cost.of(clone, made, _volume(size), image),
              cost.of(made.create_volume, _volume(size)))
             for _number in range(rounds)]
    for name in volumes.volumes():
        if name.startswith('volume-'):
            made.delete_volume(volumes.volume_of(
                name.removeprefix('volume-'), size))
    return costs


def _volume(size: int) -> volumes.Volume:
    return volumes.volume_of(str(uuid.uuid4()), size)


def clone(made: Any, volume: Any, image: str) -> None:
    """Have a driver make a volume of an image."""
    service = volumes.ImageService()
    _update, cloned = made.clone_image(
        context.get_admin_context(), volume, None,
        service.show(None, image), service)
    assert cloned


def add_image(image: str, size: int) -> None:
    """Put an image into Glance that has little data for its size."""
    path = volumes.IMAGES / image
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', path,
                    str(size * GIB)], check=True)
    subprocess.run(['qemu-io', '-f', 'qcow2', '-c',
                    f'write -P 7 0 {_DATA}', '-c',
                    f'write -P 8 {size * GIB - _DATA} {_DATA}', path],
                   check=True, capture_output=True)
    (volumes.IMAGES / f'{image}.json').write_text(json.dumps({
        'id': image, 'disk_format': 'qcow2', 'container_format': 'bare',
        'size': path.stat().st_size, 'os_hash_algo': 'sha256',
        'os_hash_value': str(uuid.uuid4()), 'properties': {}}))
