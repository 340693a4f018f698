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

"""A lab host: a kernel of its own, as one process of the machine."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import threading
import time
import typing

from tests.lab import client
from tests.lab import errors
from tests.lab import network
from tests.lab import protocol
from tests.lab import sandbox

T = typing.TypeVar('T')

# The host's own root disk, in bytes: sparse, so it takes what is written.
_ROOT_SIZE = 64 << 30

_BOOT_TIMEOUT = 60


@dataclasses.dataclass(frozen=True)
class HostSpec:
    """What a host is.

    :param name: its name, and its directory's
    :param address: last byte of its addresses, 2 to 254
    :param memory: in MiB; 160 do for a host without services of OpenStack,
        and some 50 more for each function called in it. A host whose network
        card finds no memory for what it receives hears nothing from then on.
    :param disks: size in bytes of each disk, by name; they are sparse
    :param extra_addresses: last bytes of more addresses of its data card
    :param services: of 'iscsid' and 'multipathd', those started at boot
    """

    name: str
    address: int
    memory: int = 512
    disks: typing.Mapping[str, int] = dataclasses.field(
        default_factory=dict)
    extra_addresses: tuple[int, ...] = ()
    services: tuple[str, ...] = ('iscsid', 'multipathd')


class Host:
    """One host; `Lab` makes them."""

    def __init__(self, spec: HostSpec, state: pathlib.Path) -> None:
        """:param state: the lab's state directory"""
        self.spec = spec
        self.name = spec.name
        self.address = network.data_address(spec.address)
        self.management = network.management_address(spec.address)
        self.directory = state / 'hosts' / spec.name
        self.logs = self.directory / 'log'
        self.console = self.logs / 'console.log'
        self.network = network.Link(spec.address, self.run)
        self._state = state
        self._process: subprocess.Popen[bytes] | None = None
        self._client = client.Client(self.name, self.management,
                                     lambda: self.alive)
        self._preloaded: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return 'Host(%r)' % self.name

    @property
    def alive(self) -> bool:
        """Whether the host's kernel runs."""
        return self._process is not None and self._process.poll() is None

    def disk(self, name: str) -> str:
        """The device inside the host of one of its disks."""
        return '/dev/ubd' + 'bcdefghijklmnop'[list(
            self.spec.disks).index(name)]

    def run(self, *argv: str, shell: bool = False, check: bool = True,
            timeout: float = 60, input: str | bytes = b'',
            env: typing.Mapping[str, str] | None = None) -> protocol.Result:
        """Run a command in the host and wait for its end.

        :param argv: its words, or one string for sh if shell is true
        :param check: raise if its status is not 0
        :param timeout: seconds after which its process group is killed
        :param env: variables besides the host's own
        :raises CommandFailed: see check
        :raises RequestTimeout: see timeout
        :raises HostDown: if the host is off or goes off meanwhile
        """
        if shell:
            (script,) = argv
            argv = ('sh', '-c', script)
        return self._client.run(
            argv, check=check, timeout=timeout, env=env or {},
            stdin=input.encode() if isinstance(input, str) else input)

    def call(self, function: typing.Callable[..., T], *arguments: typing.Any,
             timeout: float = 120, **keywords: typing.Any) -> T:
        """Call a function of a module in a new process in the host.

        What it raises is raised here; its cause is the traceback there.

        :raises CallKilled: if a signal killed it
        :raises CallExited: if it ended its process
        :raises RemoteError: if what it raised can't be sent
        :raises RequestTimeout: after timeout seconds; then it was killed
        :raises HostDown: if the host is off or goes off meanwhile
        """
        return self._client.call(function, arguments, keywords, timeout)

    def spawn(self, *argv: str,
              env: typing.Mapping[str, str] | None = None) -> client.Process:
        """Start a command that runs on in the host by itself."""
        return client.Process(self._client, argv, env or {}, self.logs)

    def preload(self, *modules: str, timeout: float = 120) -> None:
        """Import modules once, for all later calls, over reboots too."""
        self._client.ask(protocol.Preload(modules), 'preload', timeout)
        self._preloaded = tuple(dict.fromkeys(self._preloaded + modules))

    def power_off(self) -> None:
        """Cut the power: what is not on the host's disks is lost."""
        with self._lock:
            if self._process is not None:
                kill_group(self._process.pid)
                self._process.wait()
                self._process = None

    def power_on(self) -> None:
        """Boot the host and return when it is up.

        :raises HostDown: if it doesn't come up
        """
        with self._lock:
            if not self.alive:
                self._boot()
        if self._preloaded:
            self.preload(*self._preloaded)
        self.network.shape_in_host(after_boot=True)

    def create(self) -> None:
        """Make the host's disks and network links, without booting it."""
        self.logs.mkdir(parents=True)
        (self.directory / 'tmp').mkdir()
        root = self._disk_file('root')
        _make_sparse(root, _ROOT_SIZE)
        subprocess.run(
            ['mkfs.ext4', '-F', '-q', '-i', '262144', '-J', 'size=32', '-E',
             'lazy_itable_init=1,lazy_journal_init=1,nodiscard', root],
            check=True)
        for name, size in self.spec.disks.items():
            _make_sparse(self._disk_file(name), size)
        self.network.create()

    def remove(self) -> None:
        """Cut the power and take the host's links away."""
        self.power_off()
        self.network.remove()

    def _boot(self) -> None:
        up = self.directory / 'up'
        up.unlink(missing_ok=True)
        specification = self.directory / 'spec.json'
        specification.write_text(json.dumps(self._specification(up)))
        disks = ['ubd%d=%s' % (number, self._disk_file(name)) for
                 number, name in enumerate(('root', *self.spec.disks))]
        # What the kernel doesn't know becomes its init's environment: there,
        # packages are loaded that are installed, as soon as Python starts,
        # and this checkout need not be where they are installed from.
        command = [
            sandbox.KERNEL, 'mem=%dM' % self.spec.memory, 'umid=kernel',
            'uml_dir=%s' % self.directory, 'root=none', 'rootfstype=hostfs',
            'rootflags=/', 'ro', 'con=null', 'con0=fd:0,fd:1', 'quiet',
            'loop.max_loop=0', *disks, *self.network.kernel_arguments(),
            'PYTHONPATH=%s' % sandbox.PROJECT, 'init=' + sys.executable, '--',
            str(sandbox.PROJECT / 'tests/lab/init.py'), str(specification)]
        # The kernel keeps the host's memory in a file of this directory.
        environment = {'TMPDIR': str(self.directory / 'tmp'),
                       'PATH': os.environ['PATH'],
                       'LD_PRELOAD': str(sandbox.XSTATE)}
        with open(self.console, 'ab') as console:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console,
                stderr=console, env=environment, start_new_session=True)
        pid = self.directory / 'pid'
        pid.write_text(str(self._process.pid))
        deadline = time.monotonic() + _BOOT_TIMEOUT
        while not up.exists():
            if not self.alive or time.monotonic() > deadline:
                raise errors.HostDown('%s does not come up. Its console:\n%s'
                                      % (self.name, self._console_tail()))
            time.sleep(0.02)

    def _specification(self, up: pathlib.Path) -> dict[str, typing.Any]:
        binaries = pathlib.Path(sys.prefix, 'bin')
        extra = [network.data_address(number)
                 for number in self.spec.extra_addresses]
        return {
            'name': self.name,
            'project': str(sandbox.PROJECT),
            'state': str(self._state),
            'modules': str(self._state / 'modules'),
            'log': str(self.logs),
            'up': str(up),
            'boot': secrets.token_hex(8),
            'seed': secrets.token_hex(64),
            'disks': list(self.spec.disks),
            'services': self.spec.services,
            'management': self.management,
            'network': {'vec0': [self.address, *extra],
                        'vec1': [self.management]},
            'environment': {
                'PATH': '%s/bin:%s:/usr/local/sbin:/usr/local/bin:'
                        '/usr/sbin:/usr/bin:/sbin:/bin' % (
                            self._state, binaries),
                'PYTHONPATH': str(sandbox.PROJECT),
                'HOME': '/root', 'LANG': 'C.UTF-8', 'TERM': 'dumb'},
        }

    def _disk_file(self, name: str) -> str:
        return str(self.directory / ('%s.disk' % name))

    def _console_tail(self) -> str:
        return self.console.read_text(errors='replace')[-4000:]


def kill_group(pid: int) -> None:
    """Kill a host's process and all of its process group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _make_sparse(path: str, size: int) -> None:
    with open(path, 'xb') as file:
        file.truncate(size)
