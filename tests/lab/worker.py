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

"""The lab's agent inside a host: runs what the machine asks it to.

One process with one loop, so that a request costs one fork (33 ms in User
Mode Linux) and no Python start. Whoever asks and hangs up before the end
has the process group of its request killed. Only the standard library is
imported here; `Preload` requests bring in more.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import traceback
import typing

from tests.lab import protocol
from tests.lab import tasks

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT,
            signal.SIGPIPE)


class _Job:
    """A child process, and the connection of the request it serves."""

    def __init__(self, pid: int, poll: typing.Callable[[], int | None],
                 connection: socket.socket,
                 pipes: dict[int, str] | None = None) -> None:
        self.pid = pid
        self.poll = poll
        self.connection = connection
        # Pipes to read from, and the name of the stream each carries.
        self.pipes = pipes or {}

    def kill(self) -> None:
        _kill_group(self.pid, signal.SIGKILL)


class Worker:
    """Serves requests on an address until it is killed."""

    def __init__(self, address: str) -> None:
        self._listener = socket.create_server(
            (address, protocol.PORT), backlog=64)
        self._selector = selectors.DefaultSelector()
        self._jobs: list[_Job] = []
        self._spawned: dict[str, subprocess.Popen[bytes]] = {}
        self._waiters: list[tuple[str, socket.socket]] = []

    def serve(self) -> None:
        """Serve for ever."""
        # A signal makes the loop turn by a byte on this pair.
        self._wakeup, wake = socket.socketpair()
        self._wakeup.setblocking(False)
        wake.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._wakeup, selectors.EVENT_READ,
                                self._children_ended)
        self._selector.register(self._listener, selectors.EVENT_READ,
                                self._accept)
        while True:
            for key, _ in self._selector.select():
                # Serving one event may have unregistered another.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(30)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = protocol.receive(connection.recv)
        except (OSError, EOFError):
            connection.close()
            return
        try:
            handler = getattr(
                self, '_do_' + type(request).__name__.lower())
            keep = handler(request, connection)
        except Exception as error:
            keep = False
            self._answer(connection, _failure(error))
            self._answer(connection, protocol.Exit(1))
        if not keep:
            connection.close()

    def _do_run(self, request: protocol.Run,
                connection: socket.socket) -> bool:
        stdin = os.memfd_create('stdin')
        try:
            os.write(stdin, request.input)
            os.lseek(stdin, 0, os.SEEK_SET)
            process = subprocess.Popen(
                request.argv, stdin=stdin, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, start_new_session=True,
                env={**os.environ, **dict(request.env)})
        finally:
            os.close(stdin)
        pipes = {}
        for file, name in ((process.stdout, 'stdout'),
                           (process.stderr, 'stderr')):
            assert file is not None
            descriptor = os.dup(file.fileno())
            file.close()
            os.set_blocking(descriptor, False)
            pipes[descriptor] = name
        self._add(_Job(process.pid, process.poll, connection, pipes))
        return True

    def _do_call(self, request: protocol.Call,
                 connection: socket.socket) -> bool:
        pid = os.fork()
        if pid == 0:
            self._run_call(request, connection)

        def poll() -> int | None:
            done, status = os.waitpid(pid, os.WNOHANG)
            return os.waitstatus_to_exitcode(status) if done else None

        self._add(_Job(pid, poll, connection))
        return True

    def _run_call(self, request: protocol.Call,
                  connection: socket.socket) -> typing.NoReturn:
        """The child's part of a call."""
        status = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, *_SIGNALS):
                signal.signal(number, signal.SIG_DFL)
            self._close_all_but(connection)
            connection.settimeout(None)
            answer = _call(request.payload)
            protocol.send(connection, answer)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _do_preload(self, request: protocol.Preload,
                    connection: socket.socket) -> bool:
        for name in request.modules:
            importlib.import_module(name)
        # Forks then share these objects for longer.
        gc.collect()
        gc.freeze()
        self._answer(connection, protocol.Exit())
        return False

    def _do_spawn(self, request: protocol.Spawn,
                  connection: socket.socket) -> bool:
        with open(request.log, 'ab') as log:
            self._spawned[request.key] = subprocess.Popen(
                request.argv, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
                env={**os.environ, **dict(request.env)})
        self._answer(connection, protocol.Exit())
        return False

    def _do_wait(self, request: protocol.Wait,
                 connection: socket.socket) -> bool:
        process = self._spawned[request.key]
        status = process.poll()
        if status is None and request.block:
            waiter = (request.key, connection)
            self._waiters.append(waiter)
            self._selector.register(connection, selectors.EVENT_READ,
                                    lambda: self._end_wait(waiter, None))
            return True
        self._answer(connection, protocol.Exit(status))
        return False

    def _do_signal(self, request: protocol.Signal,
                   connection: socket.socket) -> bool:
        process = self._spawned[request.key]
        if process.poll() is None:
            _kill_group(process.pid, request.number)
        self._answer(connection, protocol.Exit())
        return False

    def _add(self, job: _Job) -> None:
        self._jobs.append(job)
        # The peer says nothing more; if this is readable, it hung up.
        self._selector.register(job.connection, selectors.EVENT_READ,
                                lambda: self._hung_up(job))
        for descriptor in job.pipes:
            self._selector.register(
                descriptor, selectors.EVENT_READ,
                lambda descriptor=descriptor: self._pass_on(
                    job, descriptor))

    def _hung_up(self, job: _Job) -> None:
        self._selector.unregister(job.connection)
        self._answer(job.connection, protocol.Failure(None, tasks.doing()))
        job.kill()

    def _pass_on(self, job: _Job, descriptor: int) -> bool:
        """Pass on what is in a pipe; return whether there may be more."""
        try:
            data = os.read(descriptor, 1 << 18)
        except BlockingIOError:
            return False
        if data:
            output = protocol.Output(job.pipes[descriptor], data)
            if not self._answer(job.connection, output):
                job.kill()
            return True
        self._selector.unregister(descriptor)
        os.close(descriptor)
        del job.pipes[descriptor]
        return False

    def _children_ended(self) -> None:
        try:
            while self._wakeup.recv(4096):
                pass
        except BlockingIOError:
            pass
        for job in tuple(self._jobs):
            status = job.poll()
            if status is not None:
                self._finish(job, status)
        for waiter in tuple(self._waiters):
            status = self._spawned[waiter[0]].poll()
            if status is not None:
                self._end_wait(waiter, status)

    def _end_wait(self, waiter: tuple[str, socket.socket],
                  status: int | None) -> None:
        self._waiters.remove(waiter)
        connection = waiter[1]
        self._selector.unregister(connection)
        self._answer(connection, protocol.Exit(status))
        connection.close()

    def _finish(self, job: _Job, status: int) -> None:
        self._jobs.remove(job)
        for descriptor in tuple(job.pipes):
            while self._pass_on(job, descriptor):
                pass
        # A daemon that the command left behind may hold a pipe open.
        for descriptor in job.pipes:
            self._selector.unregister(descriptor)
            os.close(descriptor)
        self._answer(job.connection, protocol.Exit(status))
        if job.connection in self._selector.get_map():
            self._selector.unregister(job.connection)
        job.connection.close()

    def _answer(self, connection: socket.socket, message: object) -> bool:
        try:
            protocol.send(connection, message)
            return True
        except OSError:
            return False

    def _close_all_but(self, connection: socket.socket) -> None:
        self._selector.close()
        self._listener.close()
        self._wakeup.close()
        for _, waiting in self._waiters:
            waiting.close()
        for job in self._jobs:
            job.connection.close()
            for descriptor in job.pipes:
                os.close(descriptor)


def _call(payload: bytes) -> protocol.Value | protocol.Failure:
    try:
        function, arguments, keywords = pickle.loads(payload)
        value = function(*arguments, **keywords)
        return protocol.Value(pickle.dumps(value))
    except BaseException as error:
        return _failure(error)


def _failure(error: BaseException) -> protocol.Failure:
    text = ''.join(traceback.format_exception(error))
    payload = None
    if isinstance(error, Exception):
        try:
            payload = pickle.dumps(error)
            pickle.loads(payload)
        except Exception:
            payload = None
    return protocol.Failure(payload, text)


def _kill_group(pid: int, number: int) -> None:
    """Signal a child's process group, or itself while it has none yet."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        os.kill(pid, number)
