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


"""Since when no volume of this host uses a template that it still serves.

A mark is a file that survives every process and no reboot, as what it marks.
"""

import os
import time

from os_brick_vmthunder.privileged import files
from os_brick_vmthunder import sysfs

_DIRECTORY = '/run/vmthunder'


def age(template_id: str) -> float | None:
    """Return how many seconds ago a template was marked; None if it isn't.
    """
    text = sysfs.read(_path(template_id))
    if text is None:
        return None
    try:
        return max(0.0, _now() - float(text))
    except ValueError:  # somebody was killed over it
        return None


def add(template_id: str) -> None:
    """Mark a template; an older mark stays."""
    if age(template_id) is None:
        files.write(_path(template_id), f'{_now()}\n')


def remove(template_id: str) -> None:
    """Remove a template's mark, if it has one."""
    if os.path.exists(_path(template_id)):
        files.remove(_path(template_id))


def _path(template_id: str) -> str:
    return os.path.join(_DIRECTORY, f'unused-{template_id}')


def _now() -> float:
    # goes on while the machine sleeps, and nobody sets it
    return time.clock_gettime(time.CLOCK_BOOTTIME)
