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

"""What a storm of attachments costs cinder-volume's host, beside stock LVM.

Hosts ask at once for volumes of one image, each for one. Cinder's database
is real, so that each host is placed in the template's tree; nobody logs in.
What is told is the sum over the storm.
"""

import concurrent.futures
import contextlib
import functools
import types
from typing import Any, Callable, Iterator
import uuid

from cinder.db import api as db_api

from cinder_vmthunder import locks
from os_brick_vmthunder import connection
from tests.bench import cost
from tests.bench import create
from tests.bench import results
from tests.functional import volumes
from tests.unit.cinder_vmthunder import database

_HOSTS = 10
# Of a round; the lab's storage host starts some hundred processes.
_TIMEOUT = 900


def run(rounds: int) -> list[results.Figure]:
    """Let storms on our driver and on stock LVM's take turns."""
    storage = create.get_storage('tests.bench.load')
    pairs = storage.call(measure_here, rounds,
                         timeout=rounds * _TIMEOUT)
    ours, stock = zip(*pairs)
    return cost.figures(f'{_HOSTS} hosts attach at once', ours, stock)


def measure_here(rounds: int) -> list[tuple[cost.Cost, cost.Cost]]:
    """Return what both cost in each round."""
    ours = volumes.make_driver(True,
                               vmthunder_relay_networks='10.77.0.0/24')
    directory = volumes.STATE / 'database'
    directory.mkdir(exist_ok=True)
    image = 'image-load'
    create.add_image(image, 1)
    with contextlib.ExitStack() as stack:
        database.set_up(types.SimpleNamespace(addCleanup=stack.callback),
                        directory)
        for each in (ours, ours._exports._credentials._data,
                     ours._exports._attachments, ours._exports._diff_target):
            for name in ('db', '_db'):
                if hasattr(each, name):
                    setattr(each, name, db_api)
        stock = volumes.driver.lvm.LVMVolumeDriver(
            configuration=ours.configuration, db=db_api)
        stock.check_for_setup_error()
        pairs = (
            _volumes(functools.partial(_of_image, ours, image),
                     ours.delete_volume),
            _volumes(stock.create_volume, stock.delete_volume))
        with pairs[0] as images, pairs[1] as blanks:
            return [(_storm(ours, images), _storm(stock, blanks))
                    for _number in range(rounds)]


@contextlib.contextmanager
def _volumes(make: Callable[[Any], Any], delete: Callable[[Any], Any]
             ) -> Iterator[list[Any]]:
    # a type's id is the mode of its volumes: see volumes.make_driver()
    made = [database.volume(str(uuid.uuid4()), size=1, volume_type_id='dm')
            for _number in range(_HOSTS)]
    for volume in made:
        make(volume)
    yield made
    for volume in made:
        delete(volume)


def _of_image(driver: Any, image: str, volume: Any) -> None:
    create.clone(driver, volume, image)


def _storm(driver: Any, there: list[Any]) -> cost.Cost:
    """Attach all volumes at once, then detach them."""
    cinder = database.Cinder(lambda: driver)
    rows = [database.reserve(volume.id) for volume in there]

    def attach(number: int) -> None:
        cinder.attach(there[number].id, rows[number], _connector(number))

    def attach_all() -> None:
        with concurrent.futures.ThreadPoolExecutor(_HOSTS) as pool:
            list(pool.map(attach, range(_HOSTS)))

    spent = cost.of(attach_all, locks=((locks, '_lock'),))
    for row in rows:
        cinder.detach(row)
    return spent


def _connector(number: int) -> dict[str, Any]:
    address = f'10.77.0.{100 + number}'
    return {'initiator': f'iqn.1993-08.org.debian:01:host-{number}',
            'host': f'host-{number}', 'ip': address, 'multipath': True,
            'vmthunder': {'version': connection.VERSION, 'modes': ['dm'],
                          'relay_port': 3260}}
