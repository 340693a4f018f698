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

"""The lab: hosts on a machine, within the sandbox."""

from __future__ import annotations

import concurrent.futures
import fcntl
import os
import pathlib
import shutil
import typing

from tests.lab import errors
from tests.lab import host as host_module
from tests.lab import network
from tests.lab import sandbox

_MODULES = pathlib.Path('/usr/lib/uml/modules')

# Everyone is root in the lab; a program less to start is 33 ms saved.
_SUDO = '''\
#!/bin/sh
# Runs the command itself, without sudo and cinder-rootwrap.
while [ $# -gt 0 ]; do
    case $1 in
    --) shift; break ;;
    -[ugphCDRTrtU]) shift 2 ;;
    -*) shift ;;
    *=*) export "$1"; shift ;;
    *) break ;;
    esac
done
case ${1##*/} in
cinder-rootwrap) shift 2 ;;
esac
exec "$@"
'''


class Lab:
    """All hosts of a sandbox; ends with them at the end of ``with``."""

    def __init__(self, state: pathlib.Path = sandbox.STATE) -> None:
        self.state = state
        self.hosts: dict[str, host_module.Host] = {}

    def __enter__(self) -> Lab:
        """Open the lab, with nothing left of an earlier one that died.

        :raises SandboxError: outside a sandbox
        :raises LabError: if another lab is open in this sandbox
        """
        sandbox.require()
        self._lock = open(self.state / '.lab', 'w')
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise errors.LabError(
                'Another lab is open in this sandbox; give each its own.')
        self._remove_leftovers()
        self._write_programs()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut all hosts' power, remove all that was theirs."""
        for host in self.hosts.values():
            host.remove()
        self.hosts.clear()
        shutil.rmtree(self.state / 'hosts', ignore_errors=True)
        self._lock.close()

    def start(self, name: str, address: int,
              **options: typing.Any) -> host_module.Host:
        """Start a host; the parameters are those of `HostSpec`.

        :raises HostDown: if it doesn't come up
        """
        return self.start_many(
            [host_module.HostSpec(name, address, **options)])[0]

    def start_many(self, specs: typing.Sequence[host_module.HostSpec]
                   ) -> list[host_module.Host]:
        """Start several hosts at once; return when all are up.

        :raises HostDown: if one doesn't come up
        """
        hosts = [self._add(spec) for spec in specs]
        with concurrent.futures.ThreadPoolExecutor(len(hosts)) as pool:
            for future in [pool.submit(_start, host) for host in hosts]:
                future.result()
        return hosts

    def remove(self, host: host_module.Host) -> None:
        """Cut a host's power and take away all that was its."""
        host.remove()
        del self.hosts[host.name]
        shutil.rmtree(host.directory, ignore_errors=True)

    def collect_logs(self, destination: str | os.PathLike[str]) -> None:
        """Copy all hosts' logs, consoles too, into a directory."""
        for name, host in self.hosts.items():
            shutil.copytree(host.logs, pathlib.Path(destination, name),
                            dirs_exist_ok=True)

    def _add(self, spec: host_module.HostSpec) -> host_module.Host:
        for other in self.hosts.values():
            if spec.name == other.name or spec.address == other.spec.address:
                raise errors.LabError('%s and %s are the same host' % (
                    spec, other.spec))
        host = host_module.Host(spec, self.state)
        self.hosts[spec.name] = host
        return host

    def _remove_leftovers(self) -> None:
        """End what a lab left that was killed in this sandbox."""
        for file in self.state.glob('hosts/*/pid'):
            pid = int(file.read_text())
            try:
                executable = os.readlink('/proc/%d/exe' % pid)
            except OSError:
                continue
            if os.path.basename(executable) == sandbox.KERNEL:
                host_module.kill_group(pid)
        for tap in pathlib.Path('/sys/class/net').glob('*/tun_flags'):
            network.remove_tap(tap.parent.name)
        shutil.rmtree(self.state / 'hosts', ignore_errors=True)

    def _write_programs(self) -> None:
        programs = self.state / 'bin'
        programs.mkdir(exist_ok=True)
        sudo = programs / 'sudo'
        sudo.write_text(_SUDO)
        sudo.chmod(0o755)
        modules = self.state / 'modules/lib/modules'
        modules.mkdir(parents=True, exist_ok=True)
        for source in _MODULES.iterdir():
            link = modules / source.name
            if not link.is_symlink():
                link.symlink_to(source)


def _start(host: host_module.Host) -> None:
    host.create()
    host.power_on()
