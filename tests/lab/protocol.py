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

"""What the machine and a host's worker say to each other.

A connection carries one request and its answers, each a pickled dataclass
of this module behind its length. The last answer is always `Exit`.
"""

from __future__ import annotations

import dataclasses
import pickle
import socket
import struct
import typing

PORT = 4977

_LENGTH = struct.Struct('>Q')


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended; status is -N if signal N killed it."""

    status: int
    stdout: str
    stderr: str


@dataclasses.dataclass(frozen=True)
class Run:
    """Run a command; answers `Output` as it comes, then `Exit`."""

    argv: tuple[str, ...]
    input: bytes = b''
    env: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Call:
    """Call a function in a fork; answers `Value` or `Failure`, `Exit`."""

    payload: bytes


@dataclasses.dataclass(frozen=True)
class Preload:
    """Import modules in the worker itself; answers `Failure`, `Exit`."""

    modules: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Spawn:
    """Start a command that outlives the request, known by its key."""

    key: str
    argv: tuple[str, ...]
    log: str
    env: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Wait:
    """Answer `Exit` with the status of what was spawned, once it ends.

    With ``block`` false, answer at once: status None while it runs.
    """

    key: str
    block: bool = True


@dataclasses.dataclass(frozen=True)
class Signal:
    """Send a signal to the process group of what was spawned."""

    key: str
    number: int


@dataclasses.dataclass(frozen=True)
class Output:
    """Some output of a command; stream is 'stdout' or 'stderr'."""

    stream: str
    data: bytes


@dataclasses.dataclass(frozen=True)
class Value:
    """The pickled value that a call returned."""

    payload: bytes


@dataclasses.dataclass(frozen=True)
class Failure:
    """What a request raised; payload is None if it doesn't pickle."""

    payload: bytes | None
    traceback: str


@dataclasses.dataclass(frozen=True)
class Exit:
    """The request is over; status as in `Result`."""

    status: int | None = 0


def send(connection: socket.socket, message: object) -> None:
    """Send one message.

    :raises OSError: if the peer is gone
    """
    data = pickle.dumps(message)
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(read: typing.Callable[[int], bytes]) -> typing.Any:
    """Receive one message by ``read(n)``, which returns n bytes at most.

    :raises EOFError: if the peer is gone
    """
    (length,) = _LENGTH.unpack(_exactly(read, _LENGTH.size))
    return pickle.loads(_exactly(read, length))


def _exactly(read: typing.Callable[[int], bytes], length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = read(min(length - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
