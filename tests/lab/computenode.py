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


"""What makes a lab host a compute host of Nova; runs on the host.

nova-compute runs there as packages have it run: as a user of its own, who
becomes root only by sudo and nova-rootwrap's filters.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import grp
import pathlib
import pwd
import shutil
import stat
import subprocess

from tests.lab import brick

NOVA = 'nova'
STATE = pathlib.Path('/var/lib/nova')
# Who may speak to libvirtd, and whom it runs guests as.
_LIBVIRT = 'libvirt'
_GUESTS = 'libvirt-qemu'
# What the machine may have there of its own.
_STALE = ('/etc/nova', '/etc/libvirt', '/var/lib/nova', '/var/lib/libvirt',
          '/var/log/libvirt', '/var/cache/libvirt')


def install(files: Mapping[str, tuple[str, int]]) -> None:
    """Make users and write configuration; once in a host's life.

    :param files: text and mode by absolute path.
    """
    for stale in _STALE:
        shutil.rmtree(stale, ignore_errors=True)
    _make_users()
    for name, (text, mode) in files.items():
        path = pathlib.Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    for directory in ('instances', 'locks'):
        (STATE / directory).mkdir()
    for path in (STATE, *STATE.rglob('*')):
        shutil.chown(path, NOVA, NOVA)
    # sshd's, where the machine has none
    subprocess.run(['ssh-keygen', '-A'], check=True,
                   stdout=subprocess.DEVNULL)


def prepare_boot(programs: Sequence[pathlib.Path]) -> None:
    """Do what each boot needs, before nova-compute is started.

    :param programs: what its user must be able to reach. They may lie below
        a directory of root's; that of this host's view is opened.
    """
    brick.LOCKS.mkdir(parents=True, exist_ok=True)
    pathlib.Path('/run/sshd').mkdir(exist_ok=True)
    shutil.chown(brick.LOCKS, NOVA, NOVA)
    for path in programs:
        for parent in path.parents:
            mode = parent.stat().st_mode
            if not mode & stat.S_IXOTH:
                parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _make_users() -> None:
    """Make them as Debian's packages would, unless the machine has them."""
    for name, home, shell in ((NOVA, STATE, '/bin/bash'),
                              (_GUESTS, '/var/lib/libvirt', '/bin/false')):
        try:
            pwd.getpwnam(name)
        except KeyError:
            subprocess.run(['useradd', '--system', '--user-group',
                            '--home-dir', home, '--shell', shell, name],
                           check=True)
    try:
        grp.getgrnam(_LIBVIRT)
    except KeyError:
        subprocess.run(['groupadd', '--system', _LIBVIRT], check=True)
    subprocess.run(['usermod', '--append', '--groups', _LIBVIRT, NOVA],
                   check=True)
