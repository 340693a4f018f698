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

"""cinder-volume on the lab's storage host, beside LVM and LIO."""

import dataclasses
import pathlib

from tests.lab import client as lab_client
from tests.lab.controlplane import settings
from tests.lab import host as lab_host
from tests.lab import network
from tests.lab import storagenode

CONF = pathlib.Path('/etc/cinder')
STATE = pathlib.Path('/var/lib/cinder')

# A backend that can't start only logs it: cinder-volume itself goes on.
FAILURES = ('Error encountered during initialization of driver',
            'Failed to initialize driver')
READY = 'Driver initialization completed successfully.'


@dataclasses.dataclass(frozen=True)
class Backend:
    """A backend in cinder.conf, and the volume type that asks for it.

    :ivar disk: the storage host's disk, all of which is its volume group.
    """

    name: str
    disk: str
    gigabytes: int = 40

    @property
    def group(self) -> str:
        """Its volume group."""
        return 'cinder-' + self.name


BACKENDS = {backend.name: backend for backend in (
    Backend('vmthunder', 'pv'), Backend('lvm', 'pv2'))}


def host_spec(backends: tuple[Backend, ...]) -> lab_host.HostSpec:
    """A storage host for these backends."""
    return lab_host.HostSpec(
        'storage', 21, memory=768, extra_addresses=(22,),
        disks={backend.disk: backend.gigabytes << 30
               for backend in backends})


class CinderVolume:
    """The service on its host; it can be killed and started again.

    :param host: the storage host, which is up.
    """

    def __init__(self, where: settings.Settings, host: lab_host.Host,
                 backends: tuple[Backend, ...]):
        self.host = host
        self._where = where
        self._backends = backends
        self._process: lab_client.Process | None = None
        # The storage host sees the lab's state directory.
        self._go = where.data('cinder-volume') / 'go'

    def prepare(self) -> None:
        """Write its configuration and make its volume groups."""
        self.host.call(
            storagenode.install, self._files(),
            [str(STATE / name) for name in
             ('locks', 'conversion')],
            {backend.group: self.host.disk(backend.disk)
             for backend in self._backends})

    def load(self) -> None:
        """Begin to start it, up to where it needs other services."""
        self._go.unlink(missing_ok=True)
        self._process = self.host.spawn(
            str(settings.VENV / 'bin/python'), '-W', 'ignore',
            '-m', 'tests.lab.earlystart', 'cinder.cmd.volume',
            str(self._go), '--config-file', str(CONF / 'cinder.conf'))

    def go(self) -> None:
        """Let it go on; see `ready`."""
        self._go.touch()

    @property
    def process(self) -> lab_client.Process:
        """The service's latest process."""
        if self._process is None:
            raise RuntimeError('cinder-volume was never started')
        return self._process

    @property
    def log(self) -> pathlib.Path:
        """The latest process's log."""
        return self.process.log

    @property
    def ready(self) -> bool:
        """Whether the latest process's backends all work."""
        text = self.log.read_text(errors='replace')
        return text.count(READY) >= len(self._backends)

    def problem(self) -> str | None:
        """Say what keeps it from ever becoming ready, or None."""
        if not self.process.alive:
            return 'ended'
        text = self.log.read_text(errors='replace')
        for failure in FAILURES:
            if failure in text:
                return 'could not start a backend'
        return None

    def _files(self) -> dict[str, str]:
        """Its configuration files."""
        helper = '%s/bin/privsep-helper --config-file %s' % (
            settings.VENV, CONF / 'cinder.conf')
        shared = {
            'host': self.host.name,
            'management': self.host.management,
            'target': self.host.address,
            'secondary': network.data_address(
                self.host.spec.extra_addresses[0]),
            'network': network.DATA_NETWORK,
            'state_path': STATE,
            'rootwrap_config': CONF / 'rootwrap.conf',
            'project': settings.PROJECT,
            'privsep_helper': helper,
            'default_type': self._backends[0].name,
            'backends': ','.join(b.name for b in self._backends),
        }
        parts = ['cinder-common.conf', 'cinder-volume.conf']
        text = ''.join(self._where.render(part, **shared) for part in parts)
        for backend in self._backends:
            text += self._where.render('backend-%s.conf' % backend.name,
                                       group=backend.group, **shared)
        return {
            str(CONF / 'cinder.conf'): text,
            str(CONF / 'rootwrap.conf'):
                self._where.render('rootwrap.conf', **shared),
        }
