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

"""Coordination between all processes of a backend."""

import contextlib
from typing import Iterator

from cinder import coordination


@contextlib.contextmanager
def template_lock(template_id: str, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a template, in every process of the backend.

    There are 256 locks, so that a backend that sees many images in its life
    doesn't collect a lock file for each. A thread may hold only one.

    :param wait: otherwise give up at once if somebody else holds it.
    :returns: whether the lock is held.
    """
    with _lock(f'vmthunder-template-{template_id[:2]}', wait) as held:
        yield held


@contextlib.contextmanager
def view_lock(name: str, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a view, which lives as long as who looks at it.

    :param wait: otherwise give up at once if somebody else holds it.
    :returns: whether the lock is held.
    """
    with _lock(f'vmthunder-{name}', wait) as held:
        try:
            yield held
        finally:
            if held:
                coordination.COORDINATOR.remove_lock(f'vmthunder-{name}')


@contextlib.contextmanager
def _lock(name: str, wait: bool) -> Iterator[bool]:
    lock = coordination.COORDINATOR.get_lock(name)
    if not lock.acquire(wait):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
