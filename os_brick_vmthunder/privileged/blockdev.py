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

"""What only root may do to block devices, or know of them."""

import contextlib
import errno
import fcntl
import mmap
import os
import stat

from oslo_concurrency import processutils

from os_brick_vmthunder import privileged
from os_brick_vmthunder.privileged import files

_NOTHING_FOUND = 2  # blkid's exit status
_BLKFLSBUF = 0x1261


@privileged.default.entrypoint
def zero(device: str, length: int) -> None:
    """Write zeroes to the start of a device; they are on the disk then.

    The page cache is passed by, so that nothing stale stays in it.

    :param length: in bytes, a multiple of the device's block size.
    """
    handle = os.open(device, os.O_WRONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, length) as zeroes:
            if os.pwritev(handle, [zeroes], 0) != length:
                raise OSError(errno.EIO, 'short write', device)
        os.fsync(handle)
    finally:
        os.close(handle)


@privileged.default.entrypoint
def write_start(device: str, data: bytes) -> None:
    """Write to the start of a device; it is on the disk then.

    :param data: whole blocks of the device.
    """
    handle = os.open(device, os.O_WRONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, len(data)) as buffer:
            buffer[:] = data
            if os.pwritev(handle, [buffer], 0) != len(data):
                raise OSError(errno.EIO, 'short write', device)
        os.fsync(handle)
    finally:
        os.close(handle)


@privileged.default.entrypoint
def read_start(device: str, length: int) -> bytes:
    """Return what is at the start of a device, on the disk.

    :param length: in bytes, whole blocks of the device.
    """
    handle = os.open(device, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, length) as buffer:
            count = os.preadv(handle, [buffer], 0)
            return buffer[:count]
    finally:
        os.close(handle)


@privileged.default.entrypoint
def flush(device: str) -> None:
    """Have all that was written to a device on the disk, and only there."""
    handle = os.open(device, os.O_RDONLY)
    try:
        os.fsync(handle)
        fcntl.ioctl(handle, _BLKFLSBUF)
    finally:
        os.close(handle)


@privileged.default.entrypoint
def contents(device: str) -> str:
    """Return what is on a device, as 'ext4' or 'dos'; empty if nothing.

    :raises ProcessExecutionError: the device can't be read, or what is
        found is ambiguous.
    """
    output, _stderr = processutils.execute(
        'blkid', '--probe', '--output', 'export', device,
        check_exit_code=[0, _NOTHING_FOUND])
    values = dict(line.partition('=')[::2] for line in output.splitlines())
    return values.get('TYPE') or values.get('PTTYPE') or ''


@privileged.default.entrypoint
def openers(device: str) -> list[str]:
    """Return the processes that have a device open, as 'qemu (1234)'.

    Processes that may not be looked into are left out.
    """
    number = os.stat(device).st_rdev
    found = []
    for process in filter(str.isdigit, os.listdir('/proc')):
        try:
            handles = os.listdir(f'/proc/{process}/fd')
            if any(_number(f'/proc/{process}/fd/{handle}') == number
                   for handle in handles):
                with open(f'/proc/{process}/comm') as name:
                    found.append(f'{name.read().strip()} ({process})')
        except OSError:
            continue
    return found


@privileged.default.entrypoint
def set_running(disk: str) -> None:
    """Have the kernel try a SCSI disk again that it took offline.

    :param disk: the kernel's name of it, as 'sda'.
    """
    with open(f'/sys/class/block/{disk}/device/state', 'w') as file:
        file.write('running\n')  # the kernel wants the whole line


@privileged.default.entrypoint
def rescan(disk: str) -> None:
    """Have the kernel ask a SCSI disk again how large it is.

    :param disk: the kernel's name of it, as 'sda'.
    """
    with open(f'/sys/class/block/{disk}/device/rescan', 'w') as file:
        file.write('1')


@privileged.default.entrypoint
def make_node(path: str, device: str) -> None:
    """Make another node for a block device, or find it.

    :param path: below /dev; its directory is made too.
    """
    number = os.stat(device).st_rdev
    if _number(path) == number:
        return
    remove_node(path)
    files.make_directory(os.path.dirname(path))
    os.mknod(path, stat.S_IFBLK | 0o600, number)


@privileged.default.entrypoint
def remove_node(path: str) -> None:
    """Remove a node; it is all right if it isn't there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _number(path: str) -> int:
    try:
        return os.stat(path).st_rdev
    except OSError:
        return 0
