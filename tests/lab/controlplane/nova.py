# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.


"""Nova and Placement on the machine; what computes is elsewhere."""

import functools

from tests.lab.controlplane import openstack
from tests.lab.controlplane import processes
from tests.lab.controlplane import settings

NOVA = 'http://%s:8774/v2.1' % settings.MACHINE
PLACEMENT = 'http://%s:8778' % settings.MACHINE

# As in Keystone's catalogue: user, type, URL.
CATALOGUE = (
    ('nova', 'compute', NOVA),
    ('placement', 'placement', PLACEMENT),
)


def start_placement(services: processes.Services) -> None:
    """Make placement's database and start its API."""
    where = services.where
    where.write('placement.conf', where.render('placement.conf'))
    services.run('placement-db-sync', ['placement-manage', 'db', 'sync'])
    openstack.start_wsgi(services, 'placement',
                         'placement.wsgi.api:application', 8778, '/')


def sync_nova(services: processes.Services) -> None:
    """Configure Nova's services on the machine, make databases and cells."""
    where = services.where
    common = where.render('nova-common.conf', address=settings.MACHINE,
                          state_path=where.data('nova'))
    where.write('nova.conf', common + where.render('nova-machine.conf'))
    run = functools.partial(_manage, services)
    run('api_db', 'sync')
    run('cell_v2', 'map_cell0')
    run('cell_v2', 'create_cell', '--name', 'cell1')
    # cell0's as well
    run('db', 'sync')


def start_conductor(services: processes.Services) -> None:
    """Start nova-conductor, which computes wait for by themselves."""
    services.start('nova-conductor', ['nova-conductor'])


def start_scheduler(services: processes.Services) -> None:
    """Start nova-scheduler; the first server says whether it works."""
    services.start('nova-scheduler', ['nova-scheduler'])


def start_api(services: processes.Services) -> None:
    """Start nova-api, whose databases are there."""
    openstack.start_wsgi(services, 'nova-api',
                         'nova.wsgi.osapi_compute:application', 8774, '/')


def discover_hosts(services: processes.Services) -> None:
    """Take hosts into the cell whose nova-compute has reported itself."""
    _manage(services, 'cell_v2', 'discover_hosts', '--by-service')


def _manage(services: processes.Services, *arguments: str) -> None:
    services.run('nova-manage', ['nova-manage', *arguments])
