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

"""A storage host and a compute host, and what is attached between them."""

import contextlib
import functools
from typing import Any, Iterator

from os_brick_vmthunder import connection
from tests.bench import cost
from tests.functional import backend
from tests.functional import base
from tests.functional import compute
from tests import lab
from tests.lab import brick
from tests.lab import host as lab_host

MIB = 1 << 20
STORAGE = lab.HostSpec('bench-target', 51, memory=512, extra_addresses=(52,),
                       services=())
COMPUTE = lab.HostSpec('bench-host', 61, memory=1024)
_TEMPLATE_SIZE = 24 * MIB
VOLUME_SIZE = 64 * MIB
_TIMEOUT = 600


class Rig:
    """Makes volumes and LUNs on the one host and attaches on the other."""

    def __init__(self, storage: lab_host.Host, host: lab_host.Host) -> None:
        self.host = host
        self.backend = backend.Backend(storage, ['10.77.0.51', '10.77.0.52'])

    @contextlib.contextmanager
    def template(self, size: int = _TEMPLATE_SIZE
                 ) -> Iterator[connection.Template]:
        """Have a template that no host has seen."""
        made = self.backend.make_template(size)
        try:
            yield made
        finally:
            self.backend.remove_template(made)

    @contextlib.contextmanager
    def volume(self, template: connection.Template, size: int = VOLUME_SIZE
               ) -> Iterator[dict[str, Any]]:
        """Have a volume; yield what Cinder would hand out for it.

        Its host is to relay the template, as all hosts by default are.
        """
        made = self.backend.make_volume(template, size, self.host)
        try:
            yield self.backend.relayed(made, self.host).to_dict()
        finally:
            self.backend.remove_volume(made)

    @contextlib.contextmanager
    def plain(self, size: int = VOLUME_SIZE) -> Iterator[dict[str, Any]]:
        """Have a LUN as Cinder's LVM driver exports a volume."""
        made = self.backend.make_plain(size, self.host)
        try:
            yield made
        finally:
            self.backend.remove_plain(made)

    def attach(self, protocol: str, data: dict[str, Any]) -> cost.Cost:
        """Attach; return what it cost the host."""
        return self.host.call(attach_here, protocol, data, timeout=_TIMEOUT)

    def detach(self, protocol: str, data: dict[str, Any]) -> cost.Cost:
        """Detach; return what it cost the host."""
        return self.host.call(detach_here, protocol, data, timeout=_TIMEOUT)

    @contextlib.contextmanager
    def attached(self, protocol: str, data: dict[str, Any]
                 ) -> Iterator[None]:
        """Have a volume or LUN on the host."""
        self.attach(protocol, data)
        try:
            yield
        finally:
            self.detach(protocol, data)

    def check_clean(self) -> None:
        """See that nothing is left on the host.

        :raises AssertionError: it is.
        """
        left = [entry for entry in self.host.call(compute.leftovers)
                if not entry.startswith('lock ')]
        if left:
            raise AssertionError(f'left on {self.host.name}: {left}')


@functools.cache
def get() -> Rig:
    """The lab's hosts for benchmarks, started when first asked for."""
    base.get_lab()
    storage, host = base.together(
        *(lambda spec=spec: base.get_host(spec)
          for spec in (STORAGE, COMPUTE)))
    base.together(lambda: storage.preload(*backend.MODULES),
                  lambda: host.preload(*brick.MODULES, *backend.MODULES,
                                       'tests.bench.rig'))
    return Rig(storage, host)


def attach_here(protocol: str, data: dict[str, Any]) -> cost.Cost:
    connector = brick.connector(protocol, True)
    return cost.of(connector.connect_volume, data)


def detach_here(protocol: str, data: dict[str, Any]) -> cost.Cost:
    connector = brick.connector(protocol, True)
    return cost.of(connector.disconnect_volume, data, device_info(data))


def device_info(data: dict[str, Any]) -> dict[str, Any]:
    """Return what os-brick said of an attached LUN; ours doesn't ask."""
    if 'diff' in data:
        return {}
    wwid = connection.wwid(data['volume_id'])
    return {'type': 'block', 'scsi_wwn': wwid, 'multipath_id': wwid,
            'path': f'/dev/mapper/{wwid}'}
