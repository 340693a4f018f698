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

"""Long-running services and one-shot commands on the machine."""

from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import urllib.request

from tests.lab.controlplane import exception
from tests.lab.controlplane import settings

POLL = 0.1
# Services on the machine are reached directly, whatever the environment says.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Daemon:
    """A service of the machine, in a process group of its own.

    :param name: what errors call it.
    :param command: program and arguments.
    :param env: its whole environment.
    :param log: where its output goes.
    """

    def __init__(self, name: str, command: list[str],
                 env: Mapping[str, str], log: pathlib.Path):
        self.name = name
        self.log = log
        with open(log, 'ab') as output:
            self._process = subprocess.Popen(
                command, env=dict(env), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True)

    def wait_ready(self, ready: Callable[[], bool],
                   timeout: float = 300) -> None:
        """Return when ready() says so.

        :param timeout: seconds until we give up.
        :raises ServiceFailed: it ended, or didn't become ready in time.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            status = self.status
            if status is not None:
                raise exception.ServiceFailed(
                    self.name, 'ended with status %d' % status, self.log)
            if time.monotonic() > deadline:
                raise exception.ServiceFailed(
                    self.name, 'was not ready in %d s' % timeout, self.log)
            time.sleep(POLL)

    @property
    def status(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Send a signal to the whole group, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def wait(self, timeout: float) -> bool:
        """Has it ended, at the latest after timeout seconds?"""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True


class Services:
    """All that was started on the machine, so that it can be stopped.

    :param where: the control plane's directories.
    """

    def __init__(self, where: settings.Settings):
        self.where = where
        self._daemons: list[Daemon] = []
        self._stopped = False
        self._lock = threading.Lock()

    def start(self, name: str, command: list[str],
              env: Mapping[str, str] | None = None) -> Daemon:
        """Start a service that logs under its name.

        :raises ControlPlaneError: all were stopped meanwhile.
        """
        with self._lock:
            if self._stopped:
                raise exception.ControlPlaneError(
                    'No %s: the control plane was stopped.' % name)
            daemon = Daemon(name, command, env or self.where.environment(),
                            self.where.log(name))
            self._daemons.append(daemon)
        return daemon

    def run(self, name: str, command: list[str],
            env: Mapping[str, str] | None = None,
            timeout: float = 400) -> None:
        """Run a command to its end, or until all is stopped.

        It logs under its name.

        :param timeout: seconds.
        :raises ServiceFailed: it failed or took too long.
        """
        log = self.where.log(name)
        running = self.start(name, command, env)
        if not running.wait(timeout):
            running.signal(signal.SIGKILL)
            raise exception.ServiceFailed(
                name, 'took more than %d s' % timeout, log)
        # A process group of that number may be somebody else's by now.
        with self._lock:
            if running in self._daemons:
                self._daemons.remove(running)
        if running.status:
            raise exception.ServiceFailed(
                name, 'failed with status %d' % running.status, log)

    def stop(self, grace: float = 3) -> None:
        """End all services, for good: forced after grace seconds."""
        with self._lock:
            self._stopped = True
            daemons = list(self._daemons)
            self._daemons.clear()
        for daemon in daemons:
            daemon.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace
        for daemon in daemons:
            daemon.wait(max(0, deadline - time.monotonic()))
            # Even where the leader has ended, some of its group may not.
            daemon.signal(signal.SIGKILL)
            daemon.wait(grace)


def speaks(address: str, port: int, greeting: bytes = b'') -> bool:
    """Does a server there answer?

    :param greeting: what to send first, where the client has to begin.
    """
    try:
        with socket.create_connection((address, port), timeout=2) as sock:
            sock.settimeout(2)
            sock.sendall(greeting)
            return bool(sock.recv(1))
    except OSError:
        return False


def healthy(url: str) -> bool:
    """Does a GET of the URL succeed?"""
    try:
        with _OPENER.open(url, timeout=10) as response:
            return bool(response.status < 400)
    except OSError:
        return False
