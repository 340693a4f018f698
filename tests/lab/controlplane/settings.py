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

"""Where the control plane's parts are and how they know each other."""

from collections.abc import Mapping
import dataclasses
import os
import pathlib
import shutil
import string
import sys

from tests.lab import network
from tests.lab import sandbox

MACHINE = network.MACHINE_MANAGEMENT
USER = 'lab'
PASSWORD = 'lab-password'
REGION = 'RegionOne'

PROJECT = sandbox.PROJECT
VENV = pathlib.Path(sys.prefix)
TEMPLATES = pathlib.Path(__file__).with_name('templates')


@dataclasses.dataclass(frozen=True)
class Settings:
    """The control plane's directories on the machine.

    :param state: the lab's state directory.
    """

    state: pathlib.Path

    @property
    def conf(self) -> pathlib.Path:
        """Every service's configuration; their HOME as well."""
        return self.state / 'conf'

    @property
    def logs(self) -> pathlib.Path:
        """One log for each service and command of the machine."""
        return self.state / 'log'

    def log(self, name: str) -> pathlib.Path:
        """The log of the service of that name."""
        return self.logs / (name + '.log')

    def data(self, name: str) -> pathlib.Path:
        """The directory, which is made, of what a service stores."""
        path = self.state / 'services' / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def make_directories(self) -> None:
        """Make the shared directories; an earlier run's are removed."""
        shutil.rmtree(self.state / 'services', ignore_errors=True)
        for path in (self.conf, self.logs):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)

    def render(self, template: str, **values: object) -> str:
        """Return a template of ours with the settings filled in.

        :param template: its file name under templates/.
        :param values: what else the template names.
        :raises KeyError: the template names a value nobody gave.
        """
        text = string.Template((TEMPLATES / template).read_text())
        return text.substitute(
            data=self.state / 'services', conf=self.conf, venv=VENV,
            machine=MACHINE, user=USER, password=PASSWORD, **values)

    def write(self, name: str, text: str) -> pathlib.Path:
        """Write one configuration file and return its path."""
        path = self.conf / name
        path.write_text(text)
        return path

    def environment(self, **extra: str) -> dict[str, str]:
        """The environment of the machine's services and commands.

        oslo.config looks for NAME.conf in HOME, so every OpenStack command
        finds its configuration without being told; and nothing here may go
        through a proxy.
        """
        env = without_proxies(os.environ)
        env.update(
            HOME=str(self.conf), LANG='C.UTF-8',
            PATH='%s/bin:/usr/sbin:/usr/bin:/sbin:/bin' % VENV,
            PYTHONPATH=str(PROJECT), PYTHONWARNINGS='ignore',
            OS_KEYSTONE_CONFIG_DIR=str(self.conf),
            OS_GLANCE_CONFIG_DIR=str(self.conf),
            OS_NOVA_CONFIG_DIR=str(self.conf),
            OS_NOVA_CONFIG_FILES='%s/etc/nova/api-paste.ini;nova.conf' % VENV)
        env.update(extra)
        return env


def without_proxies(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment less what sends HTTP through a proxy."""
    return {name: value for name, value in env.items()
            if not name.lower().endswith('_proxy')}
