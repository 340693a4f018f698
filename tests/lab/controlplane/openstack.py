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

"""The OpenStack services of the machine: keystone, glance and cinder."""

import base64
import os
import pathlib

from tests.lab.controlplane import processes
from tests.lab.controlplane import settings

KEYSTONE = 'http://%s:5000' % settings.MACHINE
GLANCE = 'http://%s:9292' % settings.MACHINE
CINDER = 'http://%s:8776' % settings.MACHINE


def start_keystone(services: processes.Services) -> None:
    """Make keystone's database and first user, and start it."""
    where = services.where
    where.write('keystone.conf', where.render('keystone.conf'))
    for repository in ('fernet-keys', 'credential-keys'):
        _make_keys(where.data('keystone') / repository)
    services.run('keystone-db-sync', ['keystone-manage', 'db_sync'])
    services.run('keystone-bootstrap', [
        'keystone-manage', 'bootstrap',
        '--bootstrap-password', settings.PASSWORD,
        '--bootstrap-public-url', KEYSTONE + '/v3',
        '--bootstrap-internal-url', KEYSTONE + '/v3',
        '--bootstrap-region-id', settings.REGION])
    start_wsgi(services, 'keystone', 'keystone.wsgi.api:application', 5000)


def start_glance(services: processes.Services) -> None:
    """Make glance's database and start its API."""
    where = services.where
    for directory in ('images', 'staging', 'tasks'):
        (where.data('glance') / directory).mkdir(exist_ok=True)
    where.write('glance-api.conf', where.render('glance-api.conf'))
    services.run('glance-db-sync', ['glance-manage', 'db_sync'])
    start_wsgi(services, 'glance-api', 'glance.wsgi.api:application', 9292)


def sync_cinder(services: processes.Services, default_type: str) -> None:
    """Configure cinder's services on the machine and make its database."""
    where = services.where
    state = where.data('cinder')
    common = where.render(
        'cinder-common.conf', default_type=default_type, state_path=state,
        rootwrap_config=settings.VENV / 'etc/cinder/rootwrap.conf')
    where.write('cinder.conf', common + where.render('cinder-machine.conf'))
    services.run('cinder-db-sync', ['cinder-manage', 'db', 'sync'])


def start_cinder_scheduler(services: processes.Services) -> None:
    """Start cinder-scheduler; its pools say later whether it works."""
    services.start('cinder-scheduler', ['cinder-scheduler'])


def start_cinder_api(services: processes.Services) -> None:
    """Start cinder-api, whose database is there."""
    start_wsgi(services, 'cinder-api', 'cinder.wsgi.api:application', 8776)


def start_wsgi(services: processes.Services, name: str, application: str,
               port: int, health: str = '/healthcheck') -> None:
    """Start a WSGI application under gunicorn and wait until it answers.

    Its options go by the environment, since the applications themselves
    parse sys.argv.

    :param health: path of what answers once it works.
    """
    where = services.where
    config = where.write('gunicorn-%s.py' % name, where.render(
        'gunicorn.py', port=port, application=application))
    daemon = services.start(name, ['gunicorn'], where.environment(
        GUNICORN_CMD_ARGS='-c %s' % config))
    url = 'http://%s:%d%s' % (settings.MACHINE, port, health)
    daemon.wait_ready(lambda: processes.healthy(url))


def _make_keys(repository: pathlib.Path) -> None:
    """Make a repository of Fernet keys: the staged one and the primary."""
    repository.mkdir(mode=0o700, exist_ok=True)
    for name in ('0', '1'):
        (repository / name).write_bytes(
            base64.urlsafe_b64encode(os.urandom(32)))
