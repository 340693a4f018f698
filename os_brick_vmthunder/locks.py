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

"""Locks between all processes of one host."""

import contextlib
import os
import tempfile
from typing import Iterator

from oslo_concurrency import lockutils
from oslo_config import cfg

_PREFIX = 'os-brick-'


def _path() -> str | None:
    # os-brick's own rule: its option, else oslo.concurrency's
    return (cfg.CONF.os_brick.lock_path or
            lockutils.get_lock_path(cfg.CONF))


#: Somebody else has a lock that wasn't to be waited for.
Busy = lockutils.AcquireLockFailedException


@contextlib.contextmanager
def host_lock(kind: str, unique_id: str,
              wait: bool = True) -> Iterator[None]:
    """Hold this host's lock on something named by a UUID.

    There are 256 locks a kind, so that a host that sees many volumes in its
    life doesn't collect a lock file for each. Two that share one only wait
    for each other. A thread may not hold two of a kind.

    :raises Busy: another has it, and it was not to be waited for.
    """
    name = f'vmthunder-{kind}-{unique_id[:2]}'
    path = _path()
    if path and os.geteuid() == 0:
        _share(path, _PREFIX + name)
    with lockutils.lock(name, _PREFIX, external=True, lock_path=path,
                        blocking=wait):
        yield


@contextlib.contextmanager
def host_lock_on_all(kind: str) -> Iterator[None]:
    """Hold this host's locks on everything of a kind."""
    with contextlib.ExitStack() as stack:
        for number in range(256):
            stack.enter_context(host_lock(kind, f'{number:02x}'))
        yield


def forget_portal_locks(portal: str, iqn: str) -> None:
    """Remove the lock file that os-brick leaves for a target's portal.

    The caller holds the host's lock on that target, so nobody waits for it.
    """
    lockutils.remove_external_lock_file(
        f'connect_to_iscsi_portal-{portal}-{iqn}', _PREFIX,
        lock_path=_path())


def _share(directory: str, name: str) -> None:
    """Make a lock's file as if its directory's owner had made it.

    The agent and commands are root's; the services that attach volumes run
    as users of their own, and could not open what belongs to root.
    """
    path = os.path.join(directory, name)
    if not os.path.isdir(directory) or os.path.exists(path):
        return
    there = os.stat(directory)
    handle, new = tempfile.mkstemp(prefix=f'{name}.', dir=directory)
    try:
        os.fchown(handle, there.st_uid, there.st_gid)
        os.fchmod(handle, there.st_mode & 0o666)
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    finally:
        os.close(handle)
        os.unlink(new)
