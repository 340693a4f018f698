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

"""Hosts' agents."""

import sys
import time

from tests import lab
from tests.lab import brick
from tests.lab import client

_START_SECONDS = 120


def start(host: lab.Host) -> client.Process:
    """Start a host's agent; wait until it has seen what is there.

    The caller kills it.
    """
    agent = host.spawn(sys.executable, '-m', 'os_brick_vmthunder.cmd.agent',
                       '--lock-path', str(brick.LOCKS))
    deadline = time.monotonic() + _START_SECONDS
    while 'agent of this host runs' not in agent.log.read_text():
        if not agent.alive or time.monotonic() > deadline:
            raise TimeoutError(f'No agent runs: {agent.log.read_text()}')
        time.sleep(0.2)
    time.sleep(1)
    return agent
