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

"""MariaDB and RabbitMQ: Debian's programs over private directories."""

import os

from tests.lab.controlplane import processes
from tests.lab.controlplane import settings

RABBITMQ = '/usr/lib/rabbitmq/bin/rabbitmq-server'
AMQP_HEADER = b'AMQP\x00\x00\x09\x01'


def start_mariadb(services: processes.Services) -> None:
    """Make an empty server with the services' databases, and start it."""
    where = services.where
    where.data('mariadb')
    config = where.write('mariadb.cnf', where.render('mariadb.cnf'))
    where.write('mariadb.sql', where.render('mariadb.sql'))
    services.run('mariadb-install-db', [
        'mariadb-install-db', '--defaults-file=%s' % config, '--user=root',
        '--auth-root-authentication-method=normal', '--skip-test-db',
        '--skip-name-resolve'])
    daemon = services.start(
        'mariadb', ['mariadbd', '--defaults-file=%s' % config])
    daemon.wait_ready(lambda: processes.speaks(settings.MACHINE, 3306))


def start_rabbitmq(services: processes.Services) -> None:
    """Start a message broker of one node."""
    where = services.where
    home = where.data('rabbitmq')
    plugins = home / 'enabled_plugins'
    plugins.write_text('[].\n')
    # Else the broker starts one that outlives it.
    services.start('epmd', ['epmd', '-address', '127.0.0.1'])
    daemon = services.start('rabbitmq', [RABBITMQ], where.environment(
        HOME=str(home),
        RABBITMQ_NODENAME='rabbit@localhost',
        RABBITMQ_MNESIA_BASE=str(home / 'mnesia'),
        RABBITMQ_LOG_BASE=str(home),
        RABBITMQ_CONFIG_FILE=str(
            where.write('rabbitmq.conf', where.render('rabbitmq.conf'))),
        RABBITMQ_ENABLED_PLUGINS_FILE=str(plugins),
        RABBITMQ_CONF_ENV_FILE=os.devnull,
        ERL_EPMD_ADDRESS='127.0.0.1',
        # One scheduler that sleeps when idle: the machine has better uses
        # for its processors.
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=(
            '+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none')))
    daemon.wait_ready(
        lambda: processes.speaks(settings.MACHINE, 5672, AMQP_HEADER))
