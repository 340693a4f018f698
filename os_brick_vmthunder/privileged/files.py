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

"""Files that only root may make, or see: of any mode and in any directory."""

import contextlib
import os
import tempfile

from os_brick_vmthunder import privileged


@privileged.default.entrypoint
def make_directory(path: str) -> None:
    """Make a directory that everybody may look into, and those above it."""
    _make_directory(path)


@privileged.default.entrypoint
def write(path: str, text: str) -> None:
    """Make a file that everybody may read, and its directory.

    Who reads it meanwhile finds the text of before, or this one.
    """
    directory, name = os.path.split(path)
    _make_directory(directory)
    handle, new = tempfile.mkstemp(prefix=f'.{name}.', dir=directory)
    try:
        with open(handle, 'w') as file:
            file.write(text)
            os.fchmod(handle, 0o644)
        os.rename(new, path)
    except Exception:
        os.unlink(new)
        raise


@privileged.default.entrypoint
def remove(path: str) -> None:
    """Remove a file; it is all right if it isn't there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


@privileged.default.entrypoint
def exists(path: str) -> bool:
    """Tell whether there is something."""
    return os.path.exists(path)


@privileged.default.entrypoint
def listing(path: str) -> list[str]:
    """Return what is in a directory; nothing if it isn't there."""
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []


@privileged.default.entrypoint
def free_space(path: str) -> int:
    """Return the bytes that are free where a file is to be made."""
    directory = os.path.dirname(path)
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def _make_directory(path: str) -> None:
    # os.makedirs gives its mode to the last one alone
    if not os.path.isdir(path):
        _make_directory(os.path.dirname(path))
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o755)
