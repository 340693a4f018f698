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

"""A lab host's own configuration, made inside of it by process 1.

The machine's /etc and /var show through in the host. At the first boot,
what the machine may have there of its own is taken away, and what makes
the host a storage or compute host is put in.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import socket
import typing

# Written when the first boot is done.
MARK = '/var/lib/vmthunder-lab'

# What a fresh installation would not have.
_STALE = (
    '/etc/iscsi/nodes', '/etc/iscsi/send_targets', '/etc/iscsi/ifaces',
    '/etc/target', '/etc/multipath', '/etc/vmthunder', '/etc/rtslib-fb-target',
    '/etc/lvm/archive', '/etc/lvm/backup', '/etc/lvm/cache',
    '/etc/lvm/devices', '/var/lib/iscsi', '/var/lib/vmthunder',
    '/var/target', '/etc/cinder', '/etc/glance', '/etc/nova',
    '/var/lib/cinder', '/var/lib/glance', '/var/lib/nova')

_DIRECTORIES = (
    '/etc/iscsi', '/etc/multipath/conf.d', '/etc/target/backup',
    '/etc/vmthunder', '/etc/lvm/archive', '/etc/lvm/backup')

_ISCSID = '''\
iscsid.startup = /usr/sbin/iscsid
node.startup = manual
node.session.scan = manual
node.session.timeo.replacement_timeout = 20
node.conn[0].timeo.noop_out_interval = 5
node.conn[0].timeo.noop_out_timeout = 5
node.session.auth.chap_algs = MD5
'''

# A section opens with a brace at the end of its line; what follows has
# lines of its own, the closing brace too, or multipathd drops the section.
_MULTIPATH = '''\
defaults {
    user_friendly_names no
    find_multipaths no
}
blacklist {
    devnode "^(ubd|loop|ram|zram|bcache|dm-|nbd|fd|sr)"
}
'''

# The project's own files, as an operator would install them.
_INSTALLED = ('etc/multipath/conf.d/vmthunder.conf',
              'etc/udev/rules.d/54-vmthunder.rules',
              'etc/udev/rules.d/56-vmthunder.rules')


def provision(spec: dict[str, typing.Any]) -> None:
    """Make the host's configuration, at its first boot."""
    for path in _STALE:
        shutil.rmtree(path, ignore_errors=True)
    for path in _DIRECTORIES:
        os.makedirs(path, exist_ok=True)
    name = spec['name']
    _write('/etc/hostname', name + '\n')
    _write('/etc/hosts', '127.0.0.1 localhost\n%s %s\n' % (
        spec['network']['vec0'][0], name))
    _write('/etc/iscsi/initiatorname.iscsi',
           'InitiatorName=iqn.1993-08.org.debian:01:%s\n' % name)
    _write('/etc/iscsi/iscsid.conf', _ISCSID)
    if not os.path.exists('/etc/multipath.conf'):
        _write('/etc/multipath.conf', _MULTIPATH)
    _write(MARK, '')
    os.sync()


def prepare_boot(spec: dict[str, typing.Any]) -> None:
    """Do what each boot needs."""
    socket.sethostname(spec['name'])
    for path in ('/run/lock/iscsi', '/run/lvm', '/run/udev'):
        os.makedirs(path, exist_ok=True)
    _write('/sys/kernel/config/target/dbroot', '/etc/target')
    for path in _INSTALLED:
        shutil.copy(pathlib.Path(spec['project'], path), f'/{path}')


def _write(path: str, text: str) -> None:
    pathlib.Path(path).write_text(text)
