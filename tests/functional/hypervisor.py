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

"""QEMU as the hypervisor of a compute host; all runs there.

Its guests never run: what they would do with their disks is asked of QEMU,
by the monitor that libvirt uses.
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import time
from typing import Any

from os_brick_vmthunder import connection
from os_brick_vmthunder import modes
from os_brick_vmthunder.privileged import qcow2
from tests.lab import brick

_SOCKET = '/run/guest'
_LOG = '/run/guest.log'
_PORT = 4444
_DEVICE = '/machine/peripheral/device/virtio-backend'
_RIGHT = {'read': r'read (\d+)/\1 bytes.*', 'write': r'wrote (\d+)/\1 .*',
          'flush': ''}


def properties(address: str) -> dict[str, Any]:
    """Return what Nova tells Cinder of its host."""
    modes.offer(connection.SnapshotMode.VMM)
    return brick.connector_properties(address, True)


def connect(data: dict[str, Any]) -> dict[str, str]:
    """Attach a volume as Nova does; return what os-brick tells of it."""
    modes.offer(connection.SnapshotMode.VMM)
    return brick.connect('vmthunder', data, True)


def start(info: dict[str, str], *options: str) -> None:
    """Start a guest with a volume.

    :param info: as os-brick told.
    :param options: more of QEMU's.
    """
    disk = json.loads(qcow2.node(
        info['path'], info['backing']).removeprefix('json:'))
    command = [
        'stdbuf', '-oL', 'qemu-system-x86_64', '-S', '-nodefaults', '-display',
        'none', '-M', 'pc,accel=tcg', '-m', '64',
        '-qmp', f'unix:{_SOCKET},server=on,wait=off',
        '-blockdev', json.dumps({**disk, 'node-name': 'disk'}),
        '-device', 'virtio-blk-pci,drive=disk,id=device', *options]
    with open(_LOG, 'wb') as log:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                         stderr=log, start_new_session=True)
    deadline = time.monotonic() + 60
    while True:
        try:
            _ask('query-status')
            return
        except OSError:
            assert time.monotonic() < deadline, _said(0)
            time.sleep(0.2)


def await_migration(info: dict[str, str]) -> None:
    """Start a guest that is to come from another host."""
    start(info, '-incoming', f'tcp:0.0.0.0:{_PORT}')


def migrate(address: str) -> str:
    """Send the guest to another host; return what QEMU says of it."""
    _ask('migrate', uri=f'tcp:{address}:{_PORT}')
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = _ask('query-migrate').get('status')
        if status in ('completed', 'failed'):
            return status
        time.sleep(0.2)
    return 'timeout'


def io(*commands: str) -> list[str]:
    """Have the guest read and write, in the words of qemu-io.

    :returns: what went wrong.
    """
    wrong = []
    for command in commands:
        before = os.path.getsize(_LOG)
        said = _ask('human-monitor-command', **{
            'command-line': f'qemu-io -d {_DEVICE} "{command}"'})
        # what went well goes to its standard output
        said += _said(before)
        if not re.fullmatch(_RIGHT[command.split()[0]], said, re.DOTALL):
            wrong.append(f'{command}: {said}')
    return wrong


def _said(offset: int) -> str:
    with open(_LOG) as file:
        file.seek(offset)
        return file.read()


def resize(size: int) -> None:
    """Tell the guest that its disk is larger, as Nova has libvirt do."""
    _ask('block_resize', **{'node-name': 'disk', 'size': size})


def stop() -> None:
    """End the guest; what it wrote is in the volume."""
    if not pathlib.Path(_SOCKET).exists():
        return
    _ask('quit')
    deadline = time.monotonic() + 30
    while not subprocess.run(['pgrep', 'qemu-system'],
                             capture_output=True).returncode:
        assert time.monotonic() < deadline, 'QEMU does not end'
        time.sleep(0.1)
    pathlib.Path(_SOCKET).unlink(missing_ok=True)


def kill() -> None:
    """Let the guest die, as by a power cut."""
    subprocess.run(['pkill', '-KILL', 'qemu-system'], check=True)
    time.sleep(1)
    pathlib.Path(_SOCKET).unlink()


def _ask(command: str, **arguments: Any) -> Any:
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(_SOCKET)
        file = monitor.makefile('rw')
        file.readline()  # its greeting
        for name, values in (('qmp_capabilities', {}), (command, arguments)):
            file.write(json.dumps({'execute': name, 'arguments': values}))
            file.flush()
            said: dict[str, Any] = {}
            while not said.keys() & {'return', 'error'}:
                said = json.loads(file.readline())
            if 'error' in said:
                raise RuntimeError(f'{name}: {said["error"]}')
        return said['return']
