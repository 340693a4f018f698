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

"""Run a command where a cloud is that tempest is configured for.

usage, in the sandbox: python -m tests.tempest COMMAND...

Where VMTHUNDER_LAB_LOGS is set, all logs are left in that directory.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

from tests import lab
from tests.lab.controlplane import plane
from tests.tempest import configuration


def main(command: list[str]) -> int:
    """Start the cloud, run the command and return its exit status."""
    began = time.monotonic()
    with lab.Lab() as hosts:
        try:
            with plane.ControlPlane(hosts, with_backup=True) as cloud:
                image = configuration.upload_image(cloud)
                environment = configuration.write(
                    image, hosts.state / 'log/tempest')
                print('cloud up after %.0f s' % (time.monotonic() - began),
                      file=sys.stderr, flush=True)
                return subprocess.run(command, env={
                    **os.environ, **environment,
                    # tempest's programs are there
                    'PATH': f'{sys.prefix}/bin:{os.environ["PATH"]}',
                }).returncode
        finally:
            _keep_logs(hosts)


def _keep_logs(hosts: lab.Lab) -> None:
    destination = os.environ.get('VMTHUNDER_LAB_LOGS')
    if destination:
        hosts.collect_logs(destination)
        shutil.copytree(hosts.state / 'log',
                        pathlib.Path(destination, 'control-plane'),
                        dirs_exist_ok=True)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
