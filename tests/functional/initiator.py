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

"""A bare iSCSI initiator, without os-brick; all runs on its host."""

import glob
import pathlib
import subprocess
import time

# How iscsiadm ends when the target turns an initiator away.
_REFUSED = 24
_SETTINGS = {'node.session.scan': 'auto',
             'node.conn[0].timeo.login_timeout': '5',
             'node.session.initial_login_retry_max': '1',
             'node.session.timeo.replacement_timeout': '2'}


def name() -> str:
    """Return the host's initiator name."""
    text = pathlib.Path('/etc/iscsi/initiatorname.iscsi').read_text()
    return text.strip().rpartition('InitiatorName=')[2]


def login(portal: str, iqn: str, username: str = '',
          password: str = '') -> str:
    """Log in and return the disk's device.

    :raises PermissionError: refused.
    :raises ConnectionError: something else went wrong.
    """
    node = ['iscsiadm', '-m', 'node', '-T', iqn, '-p', portal]
    pathlib.Path('/run/lock/iscsi').mkdir(parents=True, exist_ok=True)
    _run(*node, '-o', 'new')
    settings = dict(_SETTINGS)
    if username:
        settings |= {'node.session.auth.authmethod': 'CHAP',
                     'node.session.auth.username': username,
                     'node.session.auth.password': password}
    for key, value in settings.items():
        _run(*node, '-o', 'update', '-n', key, '-v', value)
    try:
        _run(*node, '--login')
    except subprocess.CalledProcessError as error:
        _run(*node, '-o', 'delete')
        if error.returncode == _REFUSED:
            raise PermissionError(error.stderr) from error
        raise ConnectionError(error.stderr) from error
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for link in glob.glob(f'/dev/disk/by-path/*{iqn}*-lun-0'):
            return str(pathlib.Path(link).resolve())
        time.sleep(0.2)
    raise TimeoutError(f'no disk of {iqn}')


def logout(iqn: str) -> None:
    """Log out, if logged in, and forget the target."""
    for link in glob.glob(f'/dev/disk/by-path/*{iqn}*-lun-0'):
        _end_map(pathlib.Path(link).resolve().name)
    for action in (['--logout'], ['-o', 'delete']):
        subprocess.run(['iscsiadm', '-m', 'node', '-T', iqn, *action],
                       capture_output=True)


def _end_map(disk: str) -> None:
    """Take away the map that multipathd, if it runs, puts over any disk.

    It would do so itself when the disk goes, but for a map that somebody
    looks at just then: udev, say, which waits until the map has given up
    queueing.
    """
    deadline = time.monotonic() + 60
    while maps := _maps(disk):
        if time.monotonic() > deadline:
            raise TimeoutError(f'{maps} over {disk} do not go')
        for name in maps:
            subprocess.run(['multipath', '-f', name], capture_output=True)
        time.sleep(0.2)


def _maps(disk: str) -> list[str]:
    return [path.read_text().strip() for path in pathlib.Path(
        '/sys/block', disk, 'holders').glob('dm-*/dm/name')]


def inquiry(device: str) -> dict[str, str]:
    """Return what a disk says of itself."""
    directory = pathlib.Path('/sys/block', pathlib.Path(device).name)
    found = subprocess.run(
        ['/lib/udev/scsi_id', '-g', '-u', '-d', device], check=True,
        capture_output=True, text=True)
    return {'wwid': found.stdout.strip(),
            'ro': (directory / 'ro').read_text().strip(),
            **{key: (directory / 'device' / key).read_text().strip()
               for key in ('vendor', 'model')}}


def writes(device: str) -> bool:
    """Whether a disk takes a write, when asked past this host's own flag."""
    subprocess.run(['blockdev', '--setrw', device], check=True)
    return not subprocess.run(
        ['dd', 'if=/dev/urandom', f'of={device}', 'bs=4096', 'count=1',
         'oflag=direct'], capture_output=True).returncode


def reads(device: str) -> bool:
    """Whether a disk still answers."""
    return not subprocess.run(
        ['dd', f'if={device}', 'of=/dev/null', 'bs=4096', 'count=1',
         'iflag=direct'], capture_output=True).returncode


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
