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

"""Loop devices by the kernel's own interface, without a process."""

import errno
import fcntl
import os
import struct
from typing import Optional

from os_brick_vmthunder import privileged
from os_brick_vmthunder import sysfs

_CONTROL = '/dev/loop-control'
_GET_FREE = 0x4C82
_CONFIGURE = 0x4C0A
_CLEAR = 0x4C01
_READ_ONLY, _DIRECT_IO = 1, 16
# struct loop_config: fd, block size, struct loop_info64 with its flags and
# file name, and reserved words
_CONFIG = struct.Struct('=II 5Q 3I I 64s 64s 32s 2Q 8Q')
_ATTEMPTS = 64


@privileged.default.entrypoint
def find(path: str) -> Optional[str]:
    """Return the loop device of a file, if it has one."""
    return next(iter(_find_all(path)), None)


@privileged.default.entrypoint
def attach(path: str) -> str:
    """Give a file a loop device, or find the one it has.

    Requests pass the page cache by where the file system can do that: what
    a flush has to wait for then is short.

    :returns: path of the loop device; its node is there.
    :raises OSError: the file can't be opened, or the kernel refuses.
    """
    found = _find_all(path)
    if found:
        return found[0]
    path = os.path.realpath(path)
    file = os.open(path, os.O_RDWR)
    try:
        return _configure(file, path, _DIRECT_IO)
    finally:
        os.close(file)


@privileged.default.entrypoint
def share(path: str, count: int) -> list[str]:
    """Give a device several read-only loop devices, or find those it has.

    Their requests go by the page cache: what several ask for at once is read
    once, and no more than they ask for.

    :returns: paths of the loop devices; their nodes are there.
    :raises OSError: the device can't be opened, or the kernel refuses.
    """
    for _missing in range(count - len(_find_all(path))):
        # each of its own, since each would go on reading where it was
        file = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
            _configure(file, path, _READ_ONLY)
        finally:
            os.close(file)
    return _find_all(path)


@privileged.default.entrypoint
def detach(path: str) -> None:
    """Take the loop devices of a file away; it is all right if it has none.

    :raises OSError: one does not go: something has it open.
    """
    for device in _find_all(path):
        _clear(device, path)


def _find_all(path: str) -> list[str]:
    """Return the loop devices of a file or device, always in one order."""
    path = os.path.realpath(path)  # only root may see where a link leads
    return [f'/dev/{name}' for name in sorted(sysfs.names('loop'))
            if sysfs.attribute(name, 'loop', 'backing_file') == path]


def _clear(device: str, path: str) -> None:
    handle = os.open(device, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, _CLEAR)
    except OSError as error:
        if error.errno != errno.ENXIO:  # gone already
            raise
    finally:
        os.close(handle)
    # who has it open still, as udev may, is waited for by the kernel
    if not sysfs.wait(lambda: device not in _find_all(path)):
        raise OSError(errno.EBUSY, 'the loop device is in use', device)


def _configure(file: int, path: str, flags: int) -> str:
    """Return a loop device that now has the file in it."""
    for _attempt in range(_ATTEMPTS):
        device = _configure_free(file, path, flags)
        if device is not None:
            return device
    raise OSError(errno.EBUSY, 'no free loop device for', path)


def _configure_free(file: int, path: str, flags: int) -> Optional[str]:
    """Return a free loop device with the file in it; None if it was taken."""
    control = os.open(_CONTROL, os.O_RDWR)
    try:
        device = f'/dev/loop{fcntl.ioctl(control, _GET_FREE)}'
    finally:
        os.close(control)
    sysfs.wait(lambda: os.path.exists(device))
    config = _CONFIG.pack(
        file, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags,
        os.fsencode(path)[:63], b'', b'', 0, 0, *[0] * 8)
    try:
        handle = os.open(device, os.O_RDWR)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return None
        raise
    try:
        fcntl.ioctl(handle, _CONFIGURE, config)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return None
        raise
    finally:
        os.close(handle)
    return device
