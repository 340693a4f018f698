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

"""What can go wrong with the lab, one exception for each."""

from __future__ import annotations

import signal
import typing

if typing.TYPE_CHECKING:
    from tests.lab import protocol


class LabError(Exception):
    """Base of everything the lab raises of its own."""


class SandboxError(LabError):
    """The program is not in the sandbox, or no sandbox can be made."""


class HostDown(LabError):
    """The host is off, died, or did not come up."""


class CommandFailed(LabError):
    """A command ended with a status other than 0; see ``result``."""

    def __init__(self, host: str, command: str,
                 result: protocol.Result) -> None:
        super().__init__(host, command, result)
        self.result = result

    def __str__(self) -> str:
        host, command, result = self.args
        text = '%s: %s: status %d' % (host, command, result.status)
        for name in ('stdout', 'stderr'):
            tail = getattr(result, name).strip()[-2000:]
            if tail:
                text += '\n%s: %s' % (name, tail)
        return text


class RequestTimeout(LabError):
    """A command or call took too long; its process group was killed."""


class CallKilled(LabError):
    """A signal ended the process in which a call ran; see ``signal``."""

    def __init__(self, host: str, function: str, number: int) -> None:
        super().__init__(host, function, number)
        self.signal = signal.Signals(number)

    def __str__(self) -> str:
        return '%s: %s() was killed by %s' % (
            self.args[0], self.args[1], self.signal.name)


class CallExited(LabError):
    """A call's process ended without an answer, as by ``os._exit()``."""

    def __init__(self, host: str, function: str, status: int) -> None:
        super().__init__(host, function, status)
        self.status = status

    def __str__(self) -> str:
        return '%s: %s() exited with status %d, without an answer' % self.args


class RemoteError(LabError):
    """A call raised what cannot be sent back; the text says what."""


class RemoteTraceback(Exception):
    """Cause of a call's exception: the traceback inside the host."""

    def __str__(self) -> str:
        return '\n"""\n%s"""' % self.args[0]
