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

"""What processes do, for a report of a request that takes too long."""

import pathlib

_PROC = pathlib.Path('/proc')
_LONGEST = 120
_DEEPEST = 12


def doing() -> str:
    """Tell what this host does: its programs, and what the kernel waits for.

    :returns: a line for each: its ID, state, command, and where in the kernel
        it is.
    """
    told = []
    for path in _PROC.glob('[0-9]*'):
        try:
            state = (path / 'stat').read_text().rpartition(')')[2].split()[0]
            words = (path / 'cmdline').read_bytes().replace(b'\0', b' ')
            if words or state == 'D':
                command = words.decode(errors='replace')[:_LONGEST].strip()
                name = (path / 'comm').read_text().strip()
                told.append(f'{path.name} {state} {command or name}: '
                            f'{_place(path)}')
        except OSError:  # it is gone
            continue
    return '\n'.join(told)


def _place(path: pathlib.Path) -> str:
    try:
        stack = (path / 'stack').read_text().split()
    except OSError:  # not every kernel tells
        stack = []
    calls = [word.partition('+')[0] for word in stack if '+' in word]
    return ' < '.join(calls[:_DEEPEST]) or (path / 'wchan').read_text()
