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

"""Process 1 of a lab host: makes a Linux host of a bare kernel.

Usage: init.py SPECIFICATION, a JSON file of `tests.lab.host`. It runs on
the machine's root file system, and turns to a copy-on-write view of it
whose changes are kept on the host's own first disk. Programs are run
sparingly, since each one costs 33 ms; Python does the rest.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import pathlib
import platform
import resource
import struct
import subprocess
import sys
import time
import traceback
import typing

MODULES = (
    'overlay', 'dm-mod', 'dm-thin-pool', 'dm-snapshot', 'dm-zero',
    'dm-multipath', 'dm-round-robin', 'dm-queue-length', 'dm-service-time',
    'dm-delay', 'dm-flakey', 'dm-dust', 'bcache', 'loop', 'configfs',
    'iscsi_tcp', 'sd_mod', 'target_core_mod', 'target_core_iblock',
    'target_core_file', 'iscsi_target_mod', 'sch_tbf', 'sch_netem')

_MODULES_SOURCE = '/usr/lib/uml/modules'

# Services, and the abstract socket that shows each one to be ready.
SERVICES = {
    'iscsid': (('iscsid', '-f'), '@ISCSIADM_ABSTRACT_NAMESPACE'),
    'multipathd': (('multipathd', '-d', '-s'),
                   '@/org/kernel/linux/storage/multipathd'),
}

_MS_RDONLY, _MS_NOATIME, _MS_MOVE = 0x1, 0x400, 0x2000
_RNDADDENTROPY = 0x40085203
_POWER_OFF = 0x4321fedc
# Bytes of a service's stacks.
_STACK = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def main(path: str) -> None:
    """Bring the host up, then reap whoever is left to process 1."""
    worker = 0
    try:
        specification = json.loads(pathlib.Path(path).read_text())
        _say('start')
        worker = _bring_up(specification)
        while True:
            pid, _ = os.wait()
            if pid == worker:
                _say('the worker died')
                break
    except BaseException:
        traceback.print_exc()
    finally:
        # Returning from process 1 would be a kernel panic.
        os.sync()
        _libc.reboot(_POWER_OFF)


def _bring_up(spec: dict[str, typing.Any]) -> int:
    os.umask(0o022)
    _enter_root(spec)
    _say('root')
    os.environ.clear()
    os.environ.update(spec['environment'])
    os.chdir('/')
    _configure_network(spec)
    sys.path.insert(0, spec['project'])
    from tests.lab import provision
    if not os.path.exists(provision.MARK):
        provision.provision(spec)
    provision.prepare_boot(spec)
    _say('configured')
    _start_udev()
    _say('udev')
    log = pathlib.Path(spec['log'])
    if spec['disks']:
        # What udev rules leave to systemd.
        subprocess.run(['vgchange', '-aay', '--sysinit', '-qq'])
    for name in spec['services']:
        _start_service(name, log)
    _say('services')
    return _start_worker(spec, log)


def _enter_root(spec: dict[str, typing.Any]) -> None:
    _mount('proc', '/proc', 'proc')
    _mount('sysfs', '/sys', 'sysfs')
    subprocess.run(['modprobe', '-d', spec['modules'], '-a', *MODULES],
                   check=True, env=spec['environment'])
    _mount('/dev/ubda', '/mnt', 'ext4', _MS_NOATIME,
           'noinit_itable,discard')
    for name in ('upper', 'work', 'root'):
        os.makedirs('/mnt/' + name, exist_ok=True)
    root = '/mnt/root'
    _mount('overlay', root, 'overlay', 0,
           'lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work')
    for source, target, kind, options in (
            ('proc', 'proc', 'proc', ''),
            ('sysfs', 'sys', 'sysfs', ''),
            ('devtmpfs', 'dev', 'devtmpfs', 'mode=755'),
            ('tmpfs', 'run', 'tmpfs', 'mode=755'),
            ('tmpfs', 'tmp', 'tmpfs', 'mode=1777'),
            ('tmpfs', 'mnt', 'tmpfs', 'mode=755'),
            ('configfs', 'sys/kernel/config', 'configfs', '')):
        _mount(source, '%s/%s' % (root, target), kind, 0, options)
    for source, target, kind, options in (
            ('devpts', 'dev/pts', 'devpts', 'gid=5,mode=620,ptmxmode=666'),
            ('tmpfs', 'dev/shm', 'tmpfs', 'mode=1777'),
            ('none', spec['state'].lstrip('/'), 'hostfs', spec['state'])):
        target = '%s/%s' % (root, target)
        os.makedirs(target, exist_ok=True)
        _mount(source, target, kind, 0, options)
    project = spec['project']
    if project.startswith(('/run/', '/tmp/')):  # hidden by now
        os.makedirs(root + project, exist_ok=True)
        _mount('none', root + project, 'hostfs', _MS_RDONLY, project)
    os.chdir(root)
    _mount('.', '/', None, _MS_MOVE)
    os.chroot('.')
    release = platform.release()
    link = '/lib/modules/' + release
    if not os.path.exists(link):
        os.makedirs('/lib/modules', exist_ok=True)
        os.symlink('%s/%s' % (_MODULES_SOURCE, release), link)
    _add_entropy(spec['seed'])


def _configure_network(spec: dict[str, typing.Any]) -> None:
    lines = ['link set lo up']
    for device, addresses in spec['network'].items():
        lines += ['addr add %s/24 dev %s' % (address, device)
                  for address in addresses]
        lines.append('link set %s up' % device)
    subprocess.run(['ip', '-batch', '-'], input='\n'.join(lines) + '\n',
                   text=True, check=True)


def _start_udev() -> None:
    subprocess.run(['/usr/lib/systemd/systemd-udevd', '--daemon'],
                   check=True)
    subprocess.run(['udevadm', 'trigger', '--settle',
                    '--subsystem-match=block'], check=True)


def _start_service(name: str, log: pathlib.Path) -> None:
    command, socket_name = SERVICES[name]
    with open(log / (name + '.log'), 'ab') as file:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file,
                         stderr=file, start_new_session=True,
                         preexec_fn=_limit_stacks)
    deadline = time.monotonic() + 10
    while socket_name not in pathlib.Path('/proc/net/unix').read_text():
        if time.monotonic() > deadline:
            raise TimeoutError('%s is not ready; see its log' % name)
        time.sleep(0.02)


def _limit_stacks() -> None:
    """Keep the stacks of threads small.

    They lock all of their memory: multipathd's took 8 MiB more.
    """
    resource.setrlimit(resource.RLIMIT_STACK, (_STACK, _STACK))


def _start_worker(spec: dict[str, typing.Any], log: pathlib.Path) -> int:
    from tests.lab import worker
    server = worker.Worker(spec['management'])
    pid = os.fork()
    if pid == 0:
        with open(log / 'worker.log', 'ab') as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.setsid()
        server.serve()
    # The machine waits for this file.
    pathlib.Path(spec['up']).write_text(spec['boot'])
    _say('up')
    return pid


def _add_entropy(seed: str) -> None:
    """Give the kernel randomness, so that nobody waits for it."""
    data = bytes.fromhex(seed)
    with open('/dev/random', 'wb') as file:
        fcntl.ioctl(file, _RNDADDENTROPY, struct.pack(
            'ii%ds' % len(data), len(data) * 8, len(data), data))


def _mount(source: str, target: str, kind: str | None, flags: int = 0,
           options: str = '') -> None:
    if _libc.mount(source.encode(), target.encode(),
                   kind.encode() if kind else None,
                   ctypes.c_ulong(flags), options.encode() or None):
        number = ctypes.get_errno()
        raise OSError(number, 'mount: %s' % os.strerror(number), target)


def _say(what: str) -> None:
    print('init: %s at %.2f s' % (what, time.monotonic()), flush=True)


if __name__ == '__main__':
    main(sys.argv[1])
