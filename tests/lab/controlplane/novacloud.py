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


"""All of Nova as a part of the control plane: its services and hosts."""

from collections.abc import Callable
from collections.abc import Sequence
import concurrent.futures
import time

from keystoneauth1 import adapter

from tests.lab.controlplane import computeservice
from tests.lab.controlplane import exception
from tests.lab.controlplane import identity
from tests.lab.controlplane import nova
from tests.lab.controlplane import processes
from tests.lab.controlplane import servers
from tests.lab import host as lab_host
from tests.lab import lab as lab_module

# From the start of nova-compute until servers can be put there, in seconds:
# thirty, or many times that on a busy machine.
READY_TIMEOUT = 900

Part = concurrent.futures.Future[None]


class NovaCloud:
    """Nova, Placement, and hosts that compute.

    :param lab: a lab that is open.
    :param services: what runs on the machine.
    :param specs: the compute hosts, which are started along.

    :ivar servers: what users do with Nova, once it runs.
    """

    def __init__(self, lab: lab_module.Lab, services: processes.Services,
                 specs: Sequence[lab_host.HostSpec]):
        self._lab = lab
        self._services = services
        self._specs = specs
        self._computes: dict[str, computeservice.NovaCompute] = {}
        self.servers = servers.Servers()

    @property
    def hosts(self) -> list[lab_host.Host]:
        """The compute hosts."""
        return [compute.host for compute in self._computes.values()]

    def begin(self, begin: Callable[..., Part], database: Part, broker: Part,
              catalogue: Part) -> Part:
        """Start everything.

        :param begin: starts a part of that name when others are there.
        :returns: the part that says that servers can be made.
        """
        services = self._services
        hosts = begin('compute hosts', self._start_hosts)
        tables = begin('nova tables', lambda: nova.sync_nova(services),
                       database)
        placement = begin('placement', lambda: nova.start_placement(services),
                          database)
        conductor = begin('nova-conductor',
                          lambda: nova.start_conductor(services),
                          broker, tables)
        scheduler = begin('nova-scheduler',
                          lambda: nova.start_scheduler(services),
                          broker, tables)
        api = begin('nova-api', lambda: nova.start_api(services),
                    broker, tables)
        computes = begin('nova-compute started', self._go, hosts, conductor,
                         placement, catalogue)
        return begin('nova-compute ready', self._wait_ready, computes,
                     scheduler, api)

    def compute(self, host: lab_host.Host) -> computeservice.NovaCompute:
        """The service on a host."""
        return self._computes[host.name]

    def restart(self, host: lab_host.Host) -> None:
        """Start nova-compute and what is beside it, as at the host's boot.

        It returns when Nova has heard of it again, which is after it has
        seen to the servers it had before.
        """
        compute = self.compute(host)
        compute.restart()
        heard = self._heard()[host.name]
        self._wait(lambda: self._heard()[host.name] != heard, [compute])

    def _start_hosts(self) -> None:
        # What all hosts share.
        computeservice.make_key(self._services.where)
        computeservice.link_bindings(self._services.where)
        for host in self._lab.start_many(self._specs):
            self._computes[host.name] = computeservice.NovaCompute(
                self._services.where, host)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for future in [pool.submit(_prepare, compute)
                           for compute in self._computes.values()]:
                future.result()

    def _go(self) -> None:
        for compute in self._computes.values():
            compute.go()

    def _wait_ready(self) -> None:
        """Return when the scheduler can put servers on all hosts."""
        computes = list(self._computes.values())
        self._wait(lambda: all(self._heard().get(name)
                               for name in self._computes), computes)
        nova.discover_hosts(self._services)
        self._wait(lambda: self._offered().issuperset(self._computes),
                   computes)

    def _wait(self, ready: Callable[[], bool],
              computes: Sequence[computeservice.NovaCompute]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while not ready():
            for compute in computes:
                problem = compute.problem()
                if problem is None and time.monotonic() > deadline:
                    problem = 'was not ready in %d s' % READY_TIMEOUT
                if problem is not None:
                    raise exception.ServiceFailed(
                        '%s of %s' % (compute.name, compute.host.name),
                        problem, compute.log)
            time.sleep(1)

    def _heard(self) -> dict[str, str]:
        """When Nova heard last of each host."""
        return {service.host: service.updated_at for service in
                self.servers.compute.services(binary='nova-compute')}

    def _offered(self) -> set[str]:
        """Hosts that Placement knows to have processors."""
        placement = adapter.Adapter(
            identity.admin_session(), service_type='placement',
            default_microversion='1.39')
        providers = placement.get('/resource_providers?resources=VCPU:1')
        return {provider['name']
                for provider in providers.json()['resource_providers']}


def _prepare(compute: computeservice.NovaCompute) -> None:
    compute.prepare()
    compute.load()
