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


"""nova-compute, libvirtd and sshd on a compute host of the lab."""

import pathlib
import subprocess
import uuid

from tests.lab import brick
from tests.lab import client as lab_client
from tests.lab import computenode
from tests.lab.controlplane import hostservice
from tests.lab.controlplane import settings
from tests.lab import host as lab_host

CONF = pathlib.Path('/etc/nova')
LIBVIRT = pathlib.Path('/etc/libvirt')
_SSH = computenode.STATE / '.ssh'
_KEY = 'id_ed25519'
# Where Debian's binding of libvirt is, among much that .venv has otherwise.
_BINDINGS = pathlib.Path('/usr/lib/python3/dist-packages')


def host_spec(number: int, memory: int = 1024) -> lab_host.HostSpec:
    """A compute host, with memory for two small servers.

    :param number: from 1.
    :param memory: in MiB.
    """
    return lab_host.HostSpec('compute-%d' % number, 30 + number,
                             memory=memory)


def make_key(where: settings.Settings) -> None:
    """Make the key by which all hosts' nova-computes know each other."""
    subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f',
                    where.data('nova-ssh') / _KEY], check=True)


def link_bindings(where: settings.Settings) -> None:
    """Put libvirt's bindings for Python where nothing else is."""
    for file in _BINDINGS.glob('libvirt*'):
        if file.suffix in ('.py', '.so'):
            (where.data('libvirt-python') / file.name).symlink_to(file)


class NovaCompute(hostservice.HostService):
    """The service, and what it needs beside it.

    :param host: the compute host, which is up.
    """

    name = 'nova-compute'
    module = 'nova.cmd.compute'
    config = CONF / 'nova.conf'

    def __init__(self, where: settings.Settings, host: lab_host.Host):
        super().__init__(where, host, computenode.NOVA)
        self._beside: list[lab_client.Process] = []

    def prepare(self) -> None:
        """Make the host a compute host; once in its life."""
        self.host.call(computenode.install, self._files())

    def load(self) -> None:
        """Start sshd and libvirtd, and begin to start the service."""
        self.host.call(computenode.prepare_boot)
        self._beside = [
            # It wants to be called by its path.
            self.host.spawn('/usr/sbin/sshd', '-D', '-e'),
            self.host.spawn('libvirtd', '--listen')]
        super().load()

    def restart(self) -> None:
        """Start all anew, as when the host boots."""
        for process in (self.process, *self._beside):
            process.kill()
            process.wait()
        self.load()
        self.go()

    def environment(self) -> dict[str, str]:
        """Variables besides the host's own."""
        return {**super().environment(),
                'PYTHONPATH': '%s:%s' % (settings.PROJECT, self._bindings)}

    def problem(self) -> str | None:
        """Say what keeps it from ever becoming ready, or None."""
        for process in self._beside:
            if not process.alive:
                return 'lacks "%s": see %s' % (process.command, process.log)
        return super().problem()

    @property
    def _bindings(self) -> pathlib.Path:
        return self._where.data('libvirt-python')

    @property
    def _key(self) -> pathlib.Path:
        return self._where.data('nova-ssh') / _KEY

    def _files(self) -> dict[str, str]:
        """Its configuration files' text by their path."""
        values = {
            'host': self.host.name,
            'address': self.host.management,
            'storage_address': self.host.address,
            'state_path': computenode.STATE,
            'brick_locks': brick.LOCKS,
            'rootwrap_config': CONF / 'rootwrap.conf',
            'uuid': uuid.uuid5(uuid.NAMESPACE_DNS, self.host.name),
        }

        def text(*templates: str) -> str:
            return ''.join(self._where.render(template, **values)
                           for template in templates)

        return {
            str(self.config): text('nova-common.conf', 'nova-compute.conf'),
            str(LIBVIRT / 'libvirtd.conf'): text('libvirtd.conf'),
            str(LIBVIRT / 'qemu.conf'): text('qemu.conf'),
            # Nova migrates by ssh between the hosts' own users.
            str(_SSH / 'config'): text('ssh.conf'),
            str(_SSH / _KEY): self._key.read_text(),
            str(_SSH / 'authorized_keys'):
                self._key.with_suffix('.pub').read_text(),
        }
