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

"""The machine's side of the conversation with a host's worker."""

from __future__ import annotations

import os
import pathlib
import pickle
import select
import signal
import socket
import time
import typing
import uuid

from tests.lab import errors
from tests.lab import protocol

# How often to look whether the host still lives while it says nothing, and
# how long killing a request may take, in seconds.
_INTERVAL = 0.5
_KILL_TIME = 10

T = typing.TypeVar('T')


class Client:
    """Makes requests to one host; may be used by threads concurrently."""

    def __init__(self, name: str, address: str,
                 alive: typing.Callable[[], bool]) -> None:
        """:param alive: tells whether the host's kernel runs"""
        self.name = name
        self._address = address
        self._alive = alive

    def run(self, argv: typing.Sequence[str], *, check: bool, timeout: float,
            stdin: bytes, env: typing.Mapping[str, str]) -> protocol.Result:
        """Run a command; see `Host.run`."""
        output = {'stdout': bytearray(), 'stderr': bytearray()}
        text = ' '.join(argv)
        request = protocol.Run(tuple(argv), stdin, tuple(env.items()))
        status = None
        for answer in self._ask(request, text, timeout):
            if isinstance(answer, protocol.Output):
                output[answer.stream] += answer.data
            elif isinstance(answer, protocol.Failure):
                self._raise(answer)
            else:
                status = answer.status
        assert status is not None
        result = protocol.Result(status, *(
            bytes(output[stream]).decode(errors='replace')
            for stream in ('stdout', 'stderr')))
        if check and status:
            raise errors.CommandFailed(self.name, text, result)
        return result

    def call(self, function: typing.Callable[..., T], arguments: tuple,
             keywords: dict, timeout: float) -> T:
        """Call a function in the host; see `Host.call`."""
        if function.__module__ == '__main__':
            raise TypeError('%r is of the main program, which a host cannot '
                            'import; move it to a module.' % function)
        name = '%s.%s' % (function.__module__, function.__qualname__)
        payload = pickle.dumps((function, arguments, keywords))
        value: protocol.Value | None = None
        for answer in self._ask(protocol.Call(payload), name, timeout):
            if isinstance(answer, protocol.Value):
                value = answer
            elif isinstance(answer, protocol.Failure):
                self._raise(answer)
            elif value is None and answer.status < 0:
                raise errors.CallKilled(self.name, name, -answer.status)
            elif value is None:
                raise errors.CallExited(self.name, name, answer.status)
        assert value is not None
        return pickle.loads(value.payload)

    def ask(self, request: object, text: str,
            timeout: float = 60) -> int | None:
        """Make a request that has no answer but its status."""
        status = None
        for answer in self._ask(request, text, timeout):
            if isinstance(answer, protocol.Failure):
                self._raise(answer)
            status = answer.status
        return status

    def _raise(self, failure: protocol.Failure) -> typing.NoReturn:
        cause = errors.RemoteTraceback(failure.traceback)
        if failure.payload is not None:
            try:
                error = pickle.loads(failure.payload)
            except Exception:
                pass
            else:
                raise error from cause
        raise errors.RemoteError('%s: %s' % (self.name, failure.traceback))

    def _ask(self, request: object, text: str,
             timeout: float) -> typing.Iterator[typing.Any]:
        """Yield the answers to a request; the last one is `Exit`."""
        try:
            connection = socket.create_connection(
                (self._address, protocol.PORT), 10)
        except OSError as error:
            raise errors.HostDown('%s does not answer (%s); is it on?' % (
                self.name, error)) from error
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener = _Listener(connection, timeout, self._alive)
            doing = ''
            try:
                protocol.send(connection, request)
                while True:
                    answer = protocol.receive(listener.read)
                    if not listener.late:
                        yield answer
                    elif isinstance(answer, protocol.Failure):
                        doing = answer.traceback
                    if isinstance(answer, protocol.Exit):
                        break
            except TimeoutError:
                raise errors.RequestTimeout(
                    '%s: not done after %g s, and cannot be killed: %s\n%s' % (
                        self.name, timeout, text, doing))
            except (EOFError, OSError) as error:
                raise errors.HostDown('%s went down during: %s' % (
                    self.name, text)) from error
            if listener.late:
                raise errors.RequestTimeout(
                    '%s: killed, as it was not done after %g s: %s\n%s' % (
                        self.name, timeout, text, doing))


class _Listener:
    """Reads answers until a deadline, or the host's end."""

    def __init__(self, connection: socket.socket, timeout: float,
                 alive: typing.Callable[[], bool]) -> None:
        self.late = False
        self._connection = connection
        self._deadline = time.monotonic() + timeout
        self._alive = alive

    def read(self, length: int) -> bytes:
        """Read some bytes, length at most.

        :raises TimeoutError: if the request outlives being killed
        :raises EOFError: if the host went down
        """
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                self._hang_up()
            elif select.select([self._connection], [], [],
                               min(left, _INTERVAL))[0]:
                return self._connection.recv(length)
            elif not self._alive():
                raise EOFError

    def _hang_up(self) -> None:
        """Make the worker kill the request, and see it die."""
        if self.late:
            raise TimeoutError
        self.late = True
        self._deadline = time.monotonic() + _KILL_TIME
        self._connection.shutdown(socket.SHUT_WR)


class Process:
    """A command that runs in a host on its own."""

    def __init__(self, client: Client, argv: typing.Sequence[str],
                 env: typing.Mapping[str, str],
                 directory: pathlib.Path) -> None:
        """Start it.

        :param directory: where to put its log, on machine and host alike
        """
        self._client = client
        self._key = uuid.uuid4().hex
        self.command = ' '.join(argv)
        self.log = directory / ('%s-%s.log' % (
            os.path.basename(argv[0]), self._key[:6]))
        client.ask(protocol.Spawn(self._key, tuple(argv), str(self.log),
                                  tuple(env.items())), self.command)

    @property
    def alive(self) -> bool:
        """Whether it still runs; false if its host was turned off."""
        return self._ask_status(False) is None

    def wait(self, timeout: float = 60) -> int:
        """Wait for its end and return its status, -N after signal N.

        :raises RequestTimeout: if it runs on; it is not killed
        """
        status = self._ask_status(True, timeout)
        assert status is not None
        return status

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to its process group, if it still runs."""
        try:
            self._client.ask(protocol.Signal(self._key, number),
                             'signal to ' + self.command)
        except (errors.HostDown, KeyError):
            pass

    def _ask_status(self, block: bool, timeout: float = 60) -> int | None:
        try:
            return self._client.ask(protocol.Wait(self._key, block),
                                    self.command, timeout)
        except (errors.HostDown, KeyError):
            # What ran there was killed with the host.
            return -signal.SIGKILL
