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

from tests.lab.controlplane import hostservice
from tests.lab.controlplane import settings
from tests.lab import host as lab_host
from tests.lab import network
from tests.lab import storagenode

CONF = hostservice.CONF

# A backend that can't start only logs it: cinder-volume itself goes on.
FAILURES = ('Error encountered during initialization of driver',
            'Failed to initialize driver', 'failed to start.')
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
        'storage', 21, memory=1024, extra_addresses=(22,),
        disks={backend.disk: backend.gigabytes << 30
               for backend in backends})


class CinderVolume(hostservice.HostService):
    """The service, and what it stores volumes on.

    :param host: the storage host, which is up.
    """

    name = 'cinder-volume'
    module = 'cinder.cmd.volume'

    def __init__(self, where: settings.Settings, host: lab_host.Host,
                 user: str, backends: tuple[Backend, ...]):
        super().__init__(where, host, user)
        self._backends = backends

    def install(self) -> None:
        """Make its user and write its configuration; before it is loaded."""
        self.host.call(storagenode.install,
                       {str(self.config): self._configuration()})

    def make_groups(self) -> None:
        """Make its volume groups."""
        self.host.call(storagenode.make_groups, {
            backend.group: self.host.disk(backend.disk)
            for backend in self._backends})

    @property
    def ready(self) -> bool:
        """Whether the latest process's backends all work."""
        text = self.log.read_text(errors='replace')
        return text.count(READY) >= len(self._backends)

    def problem(self) -> str | None:
        """Say what keeps it from ever becoming ready, or None."""
        text = self.log.read_text(errors='replace')
        if any(failure in text for failure in FAILURES):
            return 'could not start a backend'
        return super().problem()

    def _configuration(self) -> str:
        shared = {
            'host': self.host.name,
            'management': self.host.management,
            'target': self.host.address,
            'secondary': network.data_address(
                self.host.spec.extra_addresses[0]),
            'network': network.DATA_NETWORK,
            'state_path': storagenode.STATE,
            'rootwrap_config': CONF / 'rootwrap.conf',
            'default_type': self._backends[0].name,
            'backends': ','.join(b.name for b in self._backends),
        }
        parts = ['cinder-common.conf', 'cinder-volume.conf']
        text = ''.join(self._where.render(part, **shared) for part in parts)
        for backend in self._backends:
            text += self._where.render('backend-%s.conf' % backend.name,
                                       group=backend.group, **shared)
        return text
