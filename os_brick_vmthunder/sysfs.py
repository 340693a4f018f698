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

"""What the kernel tells about block devices without being asked twice.

Reading it needs neither privileges nor a process.
"""

import os
import stat
import time
from typing import Callable, Iterator, Optional

_BLOCK = '/sys/class/block'
_NUMBERS = '/sys/dev/block'

#: Bytes of the sector that the kernel counts in.
SECTOR = 512


def number(device: str) -> str:
    """Return a block device's number.

    :param device: path of a block device.
    :returns: 'major:minor'.
    :raises OSError: there is no such block device.
    """
    status = os.stat(device)
    if not stat.S_ISBLK(status.st_mode):
        raise OSError(f'{device} is not a block device')
    return f'{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}'


def directory(device: str) -> str:
    """Return a block device's directory in sysfs.

    :raises OSError: there is no such block device.
    """
    return os.path.join(_NUMBERS, number(device))


def names(prefix: str) -> Iterator[str]:
    """Yield the kernel's names of block devices, as 'dm-3' for 'dm-'."""
    for name in os.listdir(_BLOCK):
        if name.startswith(prefix):
            yield name


def attribute(name: str, *path: str) -> Optional[str]:
    """Return one attribute of a block device.

    :param name: the kernel's name of the device, as 'dm-3'.
    :returns: its text without the newline; None if the device or the
        attribute isn't there.
    """
    return read(os.path.join(_BLOCK, name, *path))


def read(path: str) -> Optional[str]:
    """Return the text of a file of sysfs, None if it isn't there."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:  # devices vanish while one looks
        return None


def size(device: str) -> int:
    """Return a block device's size in bytes."""
    sectors = read(os.path.join(directory(device), 'size'))
    return int(sectors or 0) * SECTOR


def read_bytes(name: str) -> int:
    """Return how many bytes were read from a block device since it was made.

    :param name: the kernel's name of the device, as 'dm-3'; 0 if it is gone.
    """
    fields = (attribute(name, 'stat') or '').split()
    return int(fields[2]) * SECTOR if len(fields) > 2 else 0


def listing(name: str, *path: str) -> list[str]:
    """Return the entries of a device's directory, as its 'holders'."""
    try:
        return sorted(os.listdir(os.path.join(_BLOCK, name, *path)))
    except OSError:
        return []


def exists(name: str, *path: str) -> bool:
    """Tell whether a block device has an attribute or directory."""
    return os.path.exists(os.path.join(_BLOCK, name, *path))


def link(name: str, *path: str) -> Optional[str]:
    """Return what a link of a device points to, as 'bcache0', if it's there.
    """
    try:
        return os.path.basename(os.readlink(os.path.join(_BLOCK, name,
                                                         *path)))
    except OSError:
        return None


def has_node(device: str) -> bool:
    """Tell whether the node of a block device is there."""
    try:
        return bool(number(device))
    except OSError:
        return False


def kernel_name(device: str) -> str:
    """Return the kernel's name of a block device, as 'dm-3'.

    :raises OSError: there is no such block device.
    """
    return os.path.basename(os.path.realpath(directory(device)))


def wait(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until something is so.

    :param seconds: how long at most.
    :returns: whether it came to be.
    """
    deadline = time.monotonic() + seconds
    pause = 0.002
    while not condition():
        if time.monotonic() >= deadline:
            return condition()
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    return True
