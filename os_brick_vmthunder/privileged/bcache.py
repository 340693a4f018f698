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

"""What bcache needs done as root: its files, its devices and its sysfs."""

import contextlib
import mmap
import os

from oslo_concurrency import processutils

from os_brick_vmthunder import privileged

_REGISTER = '/sys/fs/bcache/register_quiet'
_SYSFS = ('/sys/fs/bcache/', '/sys/class/block/')


@privileged.default.entrypoint
def write_file(path: str, size: int, offset: int, data: bytes) -> None:
    """Make a sparse file with some data in it, or replace it, at once.

    :param size: of the file in bytes.
    :param offset: where the data go.
    """
    new = f'{path}.new'
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.ftruncate(handle, size)
        os.pwrite(handle, data, offset)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.rename(new, path)


@privileged.default.entrypoint
def read(device: str, offset: int, length: int) -> bytes:
    """Read from a device or file."""
    handle = os.open(device, os.O_RDONLY)
    try:
        return os.pread(handle, length, offset)
    finally:
        os.close(handle)


@privileged.default.entrypoint
def write_device(device: str, offset: int, data: bytes) -> None:
    """Write to a device that nothing else uses.

    :raises OSError: it is in use.
    """
    handle = os.open(device, os.O_WRONLY | os.O_EXCL)
    try:
        os.pwrite(handle, data, offset)
        os.fsync(handle)
    finally:
        os.close(handle)


@privileged.default.entrypoint
def read_again(device: str, offset: int, length: int, times: int) -> None:
    """Read the same bytes of a device many times, past the page cache."""
    handle = os.open(device, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, length) as buffer:
            for _time in range(times):
                os.preadv(handle, [buffer], offset)
    finally:
        os.close(handle)


@privileged.default.entrypoint
def settle() -> None:
    """Wait until udev has done what it has to do, half a minute at most."""
    with contextlib.suppress(processutils.ProcessExecutionError, OSError):
        processutils.execute('udevadm', 'settle', '--timeout=30')


@privileged.default.entrypoint
def compact_memory() -> None:
    """Have the kernel join free memory to pieces as large as can be."""
    with contextlib.suppress(OSError):  # not every kernel can
        _write('/proc/sys/vm/compact_memory', '1')


@privileged.default.entrypoint
def register(device: str) -> None:
    """Tell the kernel of a device; it may know it already."""
    _write(_REGISTER, device)


@privileged.default.entrypoint
def set_attribute(path: str, value: str) -> None:
    """Write an attribute of a bcache device or set."""
    if not path.startswith(_SYSFS) or '..' in path:
        raise ValueError(f'{path} is no attribute of bcache')
    _write(path, value)


def _write(path: str, value: str) -> None:
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, value.encode())
    finally:
        os.close(handle)
