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
Runs in the host's worker.
"""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys

from tests.lab import sandbox

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


def make(name: str, venv: str) -> None:
    """Make a service's user and its directories; twice does no harm.

    :param name: of service and user, as 'nova'.
    :param venv: where the service is installed.
    """
    try:
        pwd.getpwnam(name)
    except KeyError:
        subprocess.run(['useradd', '--system', '--user-group',
                        '--home-dir', f'/var/lib/{name}',
                        '--shell', '/usr/sbin/nologin', name], check=True)
    for directory in (f'/var/lib/{name}', f'/var/lib/{name}/tmp'):
        os.makedirs(directory, exist_ok=True)
        shutil.chown(directory, name, name)
    programs = f'{venv}/bin'
    filters = pathlib.Path(f'/etc/{name}/rootwrap.d')
    filters.mkdir(parents=True, exist_ok=True)
    for source in (f'{venv}/etc/{name}/rootwrap.d',
                   f'{venv}/etc/os-brick/rootwrap.d',
                   f'{sandbox.PROJECT}/etc/{name}/rootwrap.d'):
        for path in pathlib.Path(source).glob('*.filters'):
            shutil.copy(path, filters)
    pathlib.Path(f'/etc/{name}/rootwrap.conf').write_text(
        _ROOTWRAP.format(name=name, programs=programs))
    sudoers = pathlib.Path(f'/etc/sudoers.d/{name}')
    sudoers.write_text(_SUDOERS.format(name=name, programs=programs))
    sudoers.chmod(0o440)
    # An interpreter of root's own is in a directory of root's own.
    for above in pathlib.Path(sys.executable).resolve().parents:
        above.chmod(above.stat().st_mode | 0o011)


def become(name: str) -> None:
    """Go on in this process as a service's user."""
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    # without the lab's own sudo, which is for who is root already
    os.environ.update(HOME=user.pw_dir, PATH=(
        f'{sys.prefix}/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'))
    os.chdir(user.pw_dir)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as in any Python
