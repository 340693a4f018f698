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

"""What a lab host's kernel says; these functions run in the host."""

import os
import pathlib

from demo import results
from os_brick_vmthunder import connection

_BLOCK = pathlib.Path('/sys/block')
_SESSIONS = pathlib.Path('/sys/class/iscsi_session')
_SECTOR = 512
# What marks the device that bcache caches of a template.
_BACKING = 'VMTHUNDER-backing-'
# Field of a disk's "stat": sectors read.
_SECTORS_READ = 2


def read(wwid: str) -> results.Reading:
    """What this host did with a template since it was attached.

    :param wwid: of the template; where it isn't attached all is zero
    """
    for name in _device_mapper():
        if _text(name, 'dm/uuid') == f'mpath-{wwid}':
            return results.Reading(
                sum(_bytes_read(disk, 'stat')
                    for disk in _names(name, 'slaves')), _cache_bytes(wwid))
    return results.Reading()


def leftovers() -> list[str]:
    """What attached volumes leave on a host if something goes wrong."""
    found = [_text(name, 'dm/name') for name in _device_mapper()]
    if _SESSIONS.exists():
        found += os.listdir(_SESSIONS)
    return found


def _cache_bytes(wwid: str) -> int:
    """What was read of the cached template; 0 if nothing caches it."""
    for name in _device_mapper():
        _backing, prefix, template_id = _text(name, 'dm/uuid').partition(
            _BACKING)
        if prefix and connection.wwid(template_id) == wwid:
            return _bytes_read(name, 'bcache/dev/stat')
    return 0


def _bytes_read(name: str, attribute: str) -> int:
    return int(_text(name, attribute).split()[_SECTORS_READ]) * _SECTOR


def _device_mapper() -> list[str]:
    return [name for name in os.listdir(_BLOCK) if name.startswith('dm-')]


def _names(name: str, what: str) -> list[str]:
    return os.listdir(_BLOCK / name / what)


def _text(name: str, attribute: str) -> str:
    return (_BLOCK / name / attribute).read_text().strip()
