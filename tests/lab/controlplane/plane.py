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

"""The control plane as a whole: what starts when, and how it ends."""

from collections.abc import Sequence
import concurrent.futures
import pathlib
import time
import typing

from tests.lab.controlplane import attachments
from tests.lab.controlplane import backing
from tests.lab.controlplane import backupservice
from tests.lab.controlplane import empty
from tests.lab.controlplane import exception
from tests.lab.controlplane import hostservice
from tests.lab.controlplane import identity
from tests.lab.controlplane import nova
from tests.lab.controlplane import novacloud
from tests.lab.controlplane import openstack
from tests.lab.controlplane import processes
from tests.lab.controlplane import settings
from tests.lab.controlplane import volumeservice
from tests.lab import host as lab_host
from tests.lab import lab as lab_module
from tests.lab import serviceuser

# From the start of cinder-volume until the scheduler knows its pools, in
# seconds; a lab host on a busy machine is slow.
READY_TIMEOUT = 300


class ControlPlane(attachments.Attachments):
    """Keystone, Glance and Cinder, for the time of a `with`.

    The services run on the machine, in the sandbox, and cinder-volume on a
    storage host of the lab, which is started along with them. All of it
    begins from nothing.

    :param lab: a lab that is open.
    :param backends: names of the storage backends, which are the volume
        types too; the first is the default type.
    :param with_backup: start cinder-backup, too, see `start_backup`.
    :param compute: hosts to compute by Nova, which runs only if there are
        some.
    :param cinder_user: whom cinder-volume and cinder-backup run as. Packages
        have them be CINDER's; then each command that takes rootwrap takes it
        half a second more in the lab.
    :param report: called with the name of each part when it is there.
    """

    def __init__(self, lab: lab_module.Lab,
                 backends: Sequence[str] = ('vmthunder', 'lvm'),
                 with_backup: bool = False,
                 compute: Sequence[lab_host.HostSpec] = (),
                 cinder_user: str = serviceuser.ROOT,
                 report: typing.Callable[[str], None] = lambda part: None):
        self._where = settings.Settings(lab.state)
        super().__init__(self._where)
        self._lab = lab
        self._backends = tuple(
            volumeservice.BACKENDS[name] for name in backends)
        self._services = processes.Services(self._where)
        self._cinder_volume: volumeservice.CinderVolume | None = None
        self._cinder_backup: backupservice.CinderBackup | None = None
        self._with_backup = with_backup
        self._cinder_user = cinder_user
        self._report = report
        self._nova = novacloud.NovaCloud(
            lab, self._services, compute) if compute else None
        #: Seconds from the beginning until each part was there.
        self.timings: dict[str, float] = {}

    def __enter__(self) -> typing.Self:
        """Start everything and return when volumes can be made.

        :raises ServiceFailed: a service didn't come up; with its log's end.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the machine's services; the lab ends its hosts."""
        self._services.stop()

    @property
    def storage(self) -> lab_host.Host:
        """The storage host."""
        return self.cinder_volume.host

    @property
    def cinder_volume(self) -> volumeservice.CinderVolume:
        """The service on the storage host."""
        if self._cinder_volume is None:
            raise RuntimeError('the control plane was not started')
        return self._cinder_volume

    @property
    def nova(self) -> novacloud.NovaCloud:
        """Nova, where it was asked for."""
        if self._nova is None:
            raise RuntimeError('the control plane has no Nova')
        return self._nova

    def log(self, name: str) -> pathlib.Path:
        """The log of the service of that name."""
        if name == 'cinder-volume':
            return self.cinder_volume.log
        if name == 'cinder-backup' and self._cinder_backup is not None:
            return self._cinder_backup.log
        return super().log(name)

    def kill_cinder_volume(self) -> None:
        """Kill cinder-volume, all of its processes, by SIGKILL."""
        self.cinder_volume.process.kill()
        self.cinder_volume.process.wait()

    def restart_cinder_volume(self) -> None:
        """Kill cinder-volume if it runs, start it, wait until it is ready.

        The storage host may have been off in between.
        """
        self.kill_cinder_volume()
        self.cinder_volume.load()
        self.cinder_volume.go()
        self._wait_for_backends()

    def another_cinder_volume(self) -> volumeservice.CinderVolume:
        """Start one more cinder-volume, for the same backends.

        It is the caller's to kill.
        """
        another = volumeservice.CinderVolume(
            self._where, self.storage, self._cinder_user, self._backends)
        another.load()
        another.go()
        self._wait_for_volume(another)
        return another

    def start_backup(self) -> None:
        """Have cinder-backup run on the storage host, beside cinder-volume.

        Few need it, and it takes its time to start. Where it runs already,
        nothing happens.

        :raises ServiceFailed: it doesn't come up.
        """
        running = self._cinder_backup
        if running is None or not running.process.alive:
            backup = backupservice.CinderBackup(
                self._where, self.storage, self._cinder_user)
            backup.load()
            backup.go()
            self._wait_for(backup, self._backup_known)
            self._cinder_backup = backup

    def _start(self) -> None:
        """Start the parts, each as soon as what it needs is there.

        cinder-volume takes longest, so what it needs goes first: the host,
        the broker, Cinder's tables.
        """
        self._where.make_directories()
        self._began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            def begin(name: str, function: typing.Callable[..., None],
                      *needed: concurrent.futures.Future[None]
                      ) -> concurrent.futures.Future[None]:
                return pool.submit(self._part, name, function, needed)

            services = self._services
            host = begin('storage host', self._start_storage_host)
            broker = begin('rabbitmq',
                           lambda: backing.start_rabbitmq(services))
            database = begin('mariadb',
                             lambda: backing.start_mariadb(services))
            tables = begin('cinder tables', lambda: openstack.sync_cinder(
                services, self._backends[0].name), database)
            volume = begin('cinder-volume started',
                           lambda: self.cinder_volume.go(),
                           host, broker, tables)
            scheduler = begin(
                'cinder-scheduler',
                lambda: openstack.start_cinder_scheduler(services),
                broker, tables)
            keystone = begin('keystone',
                             lambda: openstack.start_keystone(services),
                             tables)
            glance = begin('glance', lambda: openstack.start_glance(services),
                           tables)
            api = begin('cinder-api',
                        lambda: openstack.start_cinder_api(services),
                        broker, tables)
            catalogue = begin(
                'catalogue', lambda: identity.register_services(
                    nova.CATALOGUE if self._nova else identity.EMPTY_NOVA),
                keystone)
            types = begin('volume types', self._create_types, catalogue, api)
            ready = begin('cinder-volume ready', self._wait_for_backends,
                          volume, scheduler, types)
            compute = begin('empty services',
                            lambda: empty.start(services))
            parts = [glance, ready, compute]
            if self._nova:
                parts.append(self._nova.begin(begin, database, broker,
                                              catalogue))
            if self._with_backup:
                parts.append(begin('cinder-backup', self.start_backup, ready))
            try:
                for future in concurrent.futures.as_completed(parts):
                    future.result()
            except BaseException:
                # What waits for the others ends at once.
                self._services.stop()
                raise

    def _part(self, name: str, function: typing.Callable[..., None],
              needed: Sequence[concurrent.futures.Future[None]]) -> None:
        for future in needed:
            future.result()
        function()
        self.timings[name] = round(time.monotonic() - self._began, 1)
        self._report(name)

    def _start_storage_host(self) -> None:
        spec = volumeservice.host_spec(self._backends)
        (host,) = self._lab.start_many([spec])
        self._cinder_volume = volumeservice.CinderVolume(
            self._where, host, self._cinder_user, self._backends)
        self._cinder_volume.install()
        self._cinder_volume.load()
        self._cinder_volume.make_groups()

    def _create_types(self) -> None:
        for backend in self._backends:
            self.create_type(backend.name, backend.name)

    def _wait_for_backends(self) -> None:
        """Return when cinder-volume and the scheduler can use all backends.

        :raises ServiceFailed: cinder-volume or a backend doesn't come up.
        """
        self._wait_for_volume(self.cinder_volume)

    def _wait_for_volume(self, service: volumeservice.CinderVolume) -> None:
        self._wait_for(
            service, lambda: service.ready and self._pools_known())

    def _wait_for(self, service: hostservice.HostService,
                  ready: typing.Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while not ready():
            problem = service.problem()
            if problem is None and time.monotonic() > deadline:
                problem = 'was not ready in %d s' % READY_TIMEOUT
            if problem is not None:
                raise exception.ServiceFailed(
                    service.name, problem, service.log)
            time.sleep(0.5)

    def _pools_known(self) -> bool:
        """Whether the scheduler has a pool of each backend."""
        known = {pool.name.partition('@')[2].partition('#')[0]
                 for pool in self.volumes.pools.list()}
        return known.issuperset(backend.name for backend in self._backends)

    def _backup_known(self) -> bool:
        """Whether cinder-backup takes requests."""
        return any(service.state == 'up' for service in
                   self.volumes.services.list(binary='cinder-backup'))
