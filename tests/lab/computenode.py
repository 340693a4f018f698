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


"""What makes a lab host a compute host of Nova; runs on the host."""

from collections.abc import Mapping
import grp
import pathlib
import pwd
import shutil
import subprocess

from tests.lab import brick
from tests.lab import serviceuser

NOVA = 'nova'
STATE = serviceuser.home(NOVA)
# Who may speak to libvirtd, and whom it runs guests as.
_LIBVIRT = 'libvirt'
_GUESTS = 'libvirt-qemu'
# What the machine may have there of its own.
_STALE = ('/etc/libvirt', '/var/lib/libvirt', '/var/log/libvirt',
          '/var/cache/libvirt')


def install(files: Mapping[str, str]) -> None:
    """Make users and write configuration; once in a host's life.

    :param files: text by absolute path.
    """
    for stale in _STALE:
        shutil.rmtree(stale, ignore_errors=True)
    # others' nova-computes come by ssh
    serviceuser.make(NOVA, files, ('instances', 'locks'), shell='/bin/bash')
    _make_libvirt_users()
    # sshd's, where the machine has none
    subprocess.run(['ssh-keygen', '-A'], check=True,
                   stdout=subprocess.DEVNULL)


def prepare_boot() -> None:
    """Do what each boot needs, before nova-compute is started."""
    brick.LOCKS.mkdir(parents=True, exist_ok=True)
    pathlib.Path('/run/sshd').mkdir(exist_ok=True)
    shutil.chown(brick.LOCKS, NOVA, NOVA)


def _make_libvirt_users() -> None:
    """Make them as Debian's packages would, unless the machine has them."""
    try:
        pwd.getpwnam(_GUESTS)
    except KeyError:
        subprocess.run(['useradd', '--system', '--user-group', '--home-dir',
                        '/var/lib/libvirt', '--shell', '/bin/false', _GUESTS],
                       check=True)
    try:
        grp.getgrnam(_LIBVIRT)
    except KeyError:
        subprocess.run(['groupadd', '--system', _LIBVIRT], check=True)
    subprocess.run(['usermod', '--append', '--groups', _LIBVIRT, NOVA],
                   check=True)
