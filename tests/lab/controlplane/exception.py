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

"""What can go wrong with the lab's control plane, said plainly."""

import pathlib
import typing


class ControlPlaneError(Exception):
    """Anything the control plane could not do."""


class ServiceFailed(ControlPlaneError):
    """A service or one of its commands ended, or never became ready.

    :param name: the service.
    :param problem: what happened to it.
    :param log: its log, whose tail becomes part of the message.
    """

    def __init__(self, name: str, problem: str, log: pathlib.Path):
        self.name = name
        self.log = log
        super().__init__('%s %s. The end of its log, %s:\n%s'
                         % (name, problem, log, tail(log)))


class VolumeFailed(ControlPlaneError):
    """A volume came to a state it can't leave by itself."""


def tail(log: pathlib.Path, lines: int = 30) -> str:
    """The last lines of a log, or a word about its absence."""
    try:
        text = log.read_text(errors='replace')
    except OSError as exc:
        return '(unreadable: %s)' % exc
    return '\n'.join(text.splitlines()[-lines:]) or '(empty)'


class ServerFailed(ControlPlaneError):
    """A server came to a state that nobody asked for.

    :param server: openstacksdk's.
    :param problem: what is wrong.
    """

    def __init__(self, server: typing.Any, problem: str):
        fault = (server.fault or {}).get('message', 'no fault')
        super().__init__(
            'server %s (%s on %s, %s, task %s) %s: %s' % (
                server.id, server.name, server.compute_host, server.status,
                server.task_state, problem, fault))
