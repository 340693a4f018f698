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

"""A service of OpenStack on a lab host."""

import pathlib

from tests.lab import client as lab_client
from tests.lab.controlplane import settings
from tests.lab import host as lab_host
from tests.lab import serviceuser

CONF = pathlib.Path('/etc/cinder')


class HostService:
    """A service on its host; it can be killed and started again.

    :cvar name: what errors call it.
    :cvar module: the module whose main() it is.
    :cvar config: its configuration file on the host.

    :param host: the host, which is up.
    :param user: whom it runs as. One who isn't root becomes that by sudo and
        the filters of the service's rootwrap alone.
    """

    name: str
    module: str
    config = CONF / 'cinder.conf'

    def __init__(self, where: settings.Settings, host: lab_host.Host,
                 user: str):
        self.host = host
        self.user = user
        self._where = where
        self._process: lab_client.Process | None = None
        # The host sees the lab's state directory.
        self._go = where.data(self.name) / ('go-' + host.name)

    def load(self) -> None:
        """Begin to start it, up to where it needs other services."""
        self._go.unlink(missing_ok=True)
        self._process = self.host.spawn(*self.command(),
                                        env=self.environment())

    def command(self) -> list[str]:
        """The program and its arguments."""
        return [*serviceuser.command(self.user),
                str(settings.VENV / 'bin/python'), '-W', 'ignore',
                '-m', 'tests.lab.earlystart', self.module,
                str(self._go), '--config-file', str(self.config)]

    def environment(self) -> dict[str, str]:
        """Variables besides the host's own."""
        return serviceuser.environment(self.user)

    def go(self) -> None:
        """Let it go on; when it is ready is another matter."""
        self._go.touch()

    @property
    def process(self) -> lab_client.Process:
        """The service's latest process."""
        if self._process is None:
            raise RuntimeError('%s was never started' % self.name)
        return self._process

    @property
    def log(self) -> pathlib.Path:
        """The latest process's log."""
        return self.process.log

    def problem(self) -> str | None:
        """Say what keeps it from ever becoming ready, or None."""
        return None if self.process.alive else 'ended'
