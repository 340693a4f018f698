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

"""Disks that QEMU makes out of files, as block devices of this host.

A qemu-nbd process serves each, under a name, and lives on when who started it
goes. Which ones there are is read from the kernel and the processes alone.
"""

import contextlib
import errno
import fcntl
import os
import select
import signal
from typing import Iterator, Optional

from oslo_concurrency import processutils

from os_brick_vmthunder import privileged
from os_brick_vmthunder import sysfs

_MODULE = '/sys/module/nbd'
_PROCESSES = '/proc'
# The kernel makes no more later, nor looks for partitions in them.
_OPTIONS = ('nbds_max=64', 'max_part=0')
_PATIENCE = 30  # seconds


@privileged.default.entrypoint
def serve(name: str, node: str) -> str:
    """Make a disk a block device, or find that it is one.

    :param name: no other disk's.
    :param node: the disk, as QEMU's tools take it.
    :returns: path of the device.
    :raises OSError: no device is free; qemu-nbd isn't there.
    :raises ProcessExecutionError: QEMU can't open the disk.
    """
    with _alone():
        device = _served(name)
        if device is None:
            _end(name)  # one that is of no use, or not yet
            device = _start(name, node)
    return device


@privileged.default.entrypoint
def served(name: str) -> Optional[str]:
    """Return the device of a disk, if it is served."""
    return _served(name)


@privileged.default.entrypoint
def stop(name: str) -> None:
    """Serve a disk no more; it is all right if it isn't served.

    What was written to it is in its file then.

    :raises OSError: qemu-nbd doesn't end.
    """
    _end(name)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep others from taking the same device; have the module loaded."""
    if not os.path.isdir(_MODULE):
        processutils.execute('modprobe', 'nbd', *_OPTIONS)
    directory = os.open(_MODULE, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _served(name: str) -> Optional[str]:
    for process in _processes(name):
        for device in sysfs.names('nbd'):
            # of the thread that waits for the kernel
            thread = sysfs.attribute(device, 'pid')
            if thread and os.path.exists(
                    f'{_PROCESSES}/{process}/task/{thread}'):
                return f'/dev/{device}'
    return None


def _start(name: str, node: str) -> str:
    for device in sorted(sysfs.names('nbd'), key=len):
        if not _is_free(device):
            continue
        try:
            processutils.execute(
                'qemu-nbd', '--connect', f'/dev/{device}', '--description',
                name, '--cache', 'none', '--discard', 'unmap', node)
        except processutils.ProcessExecutionError:
            if _is_free(device):
                raise  # it isn't that another was faster
        else:
            return f'/dev/{device}'
    raise OSError(errno.EBUSY, 'no nbd device is free: load the module nbd '
                               'with a larger nbds_max')


def _is_free(device: str) -> bool:
    # What stands on a device whose process died would get another's data.
    return not (sysfs.exists(device, 'pid') or
                sysfs.listing(device, 'holders'))


def _end(name: str) -> None:
    for process in _processes(name):
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(process)
            try:
                # its number may be another's by now
                if process in _processes(name):
                    signal.pidfd_send_signal(handle, signal.SIGTERM)
                    _wait(handle, process)
            finally:
                os.close(handle)


def _wait(handle: int, process: int) -> None:
    if not select.select([handle], [], [], _PATIENCE)[0]:
        raise OSError(errno.EBUSY, f'qemu-nbd ({process}) does not end')


def _processes(name: str) -> list[int]:
    found = []
    for process in filter(str.isdigit, os.listdir(_PROCESSES)):
        try:
            with open(f'{_PROCESSES}/{process}/cmdline') as file:
                words = file.read().split('\0')
        except OSError:
            continue
        if os.path.basename(words[0]) == 'qemu-nbd' and name in words:
            found.append(int(process))
    return found
