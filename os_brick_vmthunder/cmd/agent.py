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

"""``vmthunder-agent``: the agent of a host that attaches volumes."""

import argparse
import signal
import sys
from typing import Sequence

import os_brick
from os_brick.initiator.connectors import iscsi
from os_brick import privileged as brick_privileged
from oslo_config import cfg
from oslo_log import log as logging

from os_brick_vmthunder import agent
from os_brick_vmthunder import caches
from os_brick_vmthunder import conf
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder import logins
from os_brick_vmthunder import paths
from os_brick_vmthunder import privileged


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal says to stop; return the exit status."""
    options = _parser().parse_args(arguments)
    _prepare(options.lock_path)
    try:
        config = conf.load(options.config_file)
    except exception.VMThunderException as error:
        print(error.msg, file=sys.stderr)
        return 1
    initiator = iscsi.ISCSIConnector('', use_multipath=True)
    this = agent.Agent(paths.Paths(initiator, ''), logins.Logins(initiator),
                       caches.create(config), config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: this.stop())
    this.run()
    return 0


def _prepare(lock_path: str) -> None:
    """Work as root in this process, under the locks of the services."""
    logging.register_options(cfg.CONF)
    cfg.CONF([], project='vmthunder', default_config_files=[])
    logging.setup(cfg.CONF, 'vmthunder')
    os_brick.setup(cfg.CONF)
    cfg.CONF.set_override('lock_path', lock_path, 'os_brick')
    for context in (brick_privileged.default, privileged.default,
                    brick_privileged.brick_privsep_hide_output):
        context.set_client_mode(False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='vmthunder-agent',
        description=_('Make up for what fails on this host. Run as root.'))
    parser.add_argument('--config-file', default=conf.DEFAULT_FILE)
    parser.add_argument(
        '--lock-path', default='/var/lib/nova/tmp',
        help=_('as lock_path in [os_brick] or [oslo_concurrency] of the '
               'service that attaches volumes here'))
    return parser


if __name__ == '__main__':
    sys.exit(main())
