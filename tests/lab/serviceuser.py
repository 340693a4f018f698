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

"""A service's own user on a lab host, as packages of a distribution make it.

The user becomes root by sudo and the service's rootwrap, and by nothing else.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib
import pwd
import shutil
import signal
import stat
import subprocess
import sys

from tests.lab import sandbox

ROOT = 'root'
_SYSTEM = '/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

_ROOTWRAP = '''\
[DEFAULT]
filters_path = /etc/{name}/rootwrap.d
exec_dirs = {programs},/usr/sbin,/usr/bin,/sbin,/bin
'''

# The virtual environment isn't where sudo looks, and a checkout isn't where
# Python does.
_SUDOERS = '''\
Defaults:{name} secure_path = {programs}:/usr/sbin:/usr/bin:/sbin:/bin
Defaults:{name} env_keep += "PYTHONPATH PYTHONWARNINGS"
{name} ALL = (root) NOPASSWD: {programs}/{name}-rootwrap \
/etc/{name}/rootwrap.conf *
'''


def home(name: str) -> pathlib.Path:
    """Return the directory where a service keeps its own."""
    return pathlib.Path('/var/lib', name)


def command(name: str) -> list[str]:
    """Return what root puts before a command to run it as a user."""
    return [] if name == ROOT else [
        'setpriv', '--reuid', name, '--regid', name, '--init-groups']


def environment(name: str) -> dict[str, str]:
    """Return what differs for a user from what programs of root get."""
    # not the lab's own sudo, which is for who is root already
    return {} if name == ROOT else {
        'HOME': str(home(name)),
        'PATH': f'{sys.prefix}/bin:{_SYSTEM}'}


def make(name: str, files: Mapping[str, str], directories: Sequence[str],
         shell: str = '/usr/sbin/nologin') -> None:
    """Make a service's user and what it has; twice does no harm.

    To be called on the host.

    :param name: of service and user, as 'nova'.
    :param files: text by absolute path; what is at home nobody else reads.
    :param directories: names of those at home.
    """
    try:
        pwd.getpwnam(name)
    except KeyError:
        subprocess.run(['useradd', '--system', '--user-group', '--home-dir',
                        home(name), '--shell', shell, name], check=True)
    for directory in ('.', *directories):
        pathlib.Path(home(name), directory).mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        _write(pathlib.Path(path), text,
               0o600 if home(name) in pathlib.Path(path).parents else 0o644)
    for own in (home(name), *home(name).rglob('*')):
        shutil.chown(own, name, name)
    _let_become_root(name)
    _let_reach(sandbox.PROJECT, pathlib.Path(sys.prefix),
               pathlib.Path(sys.executable).resolve())


def become(name: str) -> None:
    """Go on in this process as a service's user."""
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    os.environ.update(environment(name))
    os.chdir(user.pw_dir)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as in any Python


def _let_become_root(name: str) -> None:
    """Install rootwrap's and sudo's part, as an operator would."""
    filters = pathlib.Path(f'/etc/{name}/rootwrap.d')
    filters.mkdir(parents=True, exist_ok=True)
    for source in (f'{sys.prefix}/etc/{name}', f'{sys.prefix}/etc/os-brick',
                   f'{sandbox.PROJECT}/etc/{name}'):
        for path in pathlib.Path(source, 'rootwrap.d').glob('*.filters'):
            shutil.copy(path, filters)
    programs = f'{sys.prefix}/bin'
    _write(pathlib.Path(f'/etc/{name}/rootwrap.conf'),
           _ROOTWRAP.format(name=name, programs=programs), 0o644)
    _write(pathlib.Path(f'/etc/sudoers.d/{name}'),
           _SUDOERS.format(name=name, programs=programs), 0o440)


def _let_reach(*paths: pathlib.Path) -> None:
    """Open the directories above, which may be root's own on the machine."""
    for path in paths:
        for above in path.parents:
            mode = stat.S_IMODE(above.stat().st_mode)
            if not mode & stat.S_IXOTH:
                above.chmod(mode | stat.S_IXOTH)


def _write(path: pathlib.Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
