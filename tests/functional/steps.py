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

"""Dying after any single step of a function.

A step is anything a process does to the world outside itself: starting a
command that changes something, opening a file or device for writing, an
ioctl, making or removing a name. The interpreter's audit events show them
all, so no list of steps can go stale. A process that is killed before its
step N was killed after its step N - 1.
"""

import datetime
import itertools
import os
import signal
import sys
from typing import Any, Callable

#: One step in so many is tried, and others tomorrow. 1 tries all.
STRIDE = int(os.environ.get('VMTHUNDER_STEP_STRIDE', '1'))

_NAMES = {'os.remove', 'os.rename', 'os.mkdir', 'os.rmdir', 'os.truncate',
          'os.link', 'os.symlink', 'fcntl.ioctl'}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_UNINTERESTING = ('/dev/null', '/lock', '.pyc', '/dev/pts', '/proc/self')
_READING = {'cat', 'lsblk', 'blkid', 'lvs', 'vgs', 'pvs', 'scsi_id',
            'bcache-super-show', 'udevadm', 'findmnt', 'true', 'stat'}
_READING_VERBS = {'iscsiadm': {'--op', '--login', '--logout', '-u', '-l'},
                  'multipath': {'-f', '-a', '-r', '-w'},
                  'multipathd': {'add', 'del', 'disablequeueing', 'resize'},
                  'dmsetup': {'create', 'remove', 'load', 'resume',
                              'suspend', 'message', 'clear'},
                  'qemu-img': {'convert', 'create', 'resize', '-r'}}


def _command(argv: Any) -> list[str]:
    given = [argv] if isinstance(argv, (str, bytes)) else argv or ()
    words = [os.fsdecode(word) for word in given]
    while words and (os.path.basename(words[0]) in ('sudo', 'env') or
                     '=' in words[0]):
        words.pop(0)
    return words


def _changes_something(argv: Any) -> bool:
    words = _command(argv)
    if not words:
        return True
    name = os.path.basename(words[0])
    if name in _READING:
        return False
    if name in _READING_VERBS:
        return (bool(_READING_VERBS[name].intersection(words)) and
                'show' not in words)
    return True


def describe(event: str, args: tuple) -> str | None:
    """Return what an audit event does to the world, None if nothing."""
    if event == 'subprocess.Popen':
        if _changes_something(args[1]):
            return ' '.join(_command(args[1]))
    elif event == 'open':
        path, _mode, flags = args
        if (isinstance(path, str) and isinstance(flags, int) and
                flags & _WRITING and
                not any(word in path for word in _UNINTERESTING)):
            return f'write {path}'
    elif event in _NAMES:
        if not any(word in str(args[0]) for word in _UNINTERESTING):
            return f'{event} {args[0]}'
    return None


def first() -> int:
    """Return which step to try first today, counted from 0."""
    return datetime.date.today().toordinal() % STRIDE


def run(step: int, function: Callable[..., Any], *args: Any,
        ignored: str | None = None) -> list[str]:
    """Run a function; die before its step number ``step``.

    To be called in a process of its own, such as a lab host's. Audit hooks
    can't be taken out again.

    :param step: counted from 0.
    :param ignored: steps that have this in their description don't count.
    :returns: the steps, if there were fewer.
    """
    counter = itertools.count()
    steps: list[str] = []

    def hook(event: str, args: tuple) -> None:
        if event.partition('.')[0] not in ('open', 'subprocess', 'os',
                                           'fcntl'):
            return
        what = describe(event, args)
        if what is not None and (ignored is None or ignored not in what):
            if next(counter) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            steps.append(what)

    sys.addaudithook(hook)
    function(*args)
    return list(steps)
