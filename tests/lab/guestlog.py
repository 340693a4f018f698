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


"""What a machine of the image says of itself, read from its console.

In a cloud it serves on after it has shown its diary, see ``guest/``.
"""

import dataclasses
import re

_DIARY = re.compile(r'=== diary begins\n(.*?)=== diary ends, userland (\w+)\n',
                    re.DOTALL)
_MARK = re.compile(r'=== server (\w+)\n')
_BEAT = re.compile(r'=== beat (\d+), (\d+) sectors, data (\w+)\n')


@dataclasses.dataclass(frozen=True)
class Guest:
    """A machine since it was last started.

    :ivar diary: a line for each boot from this disk, naming whose it was.
    :ivar intact: the userland is as it was packaged.
    :ivar mark: checksum of the random data that its first boot put on the
        disk; empty until it serves.
    :ivar beats: how often it has read those since, and written something.
    :ivar healthy: the data were right each time, and the writes done.
    :ivar size: of its disk in bytes, at the latest beat.
    """

    diary: tuple[str, ...] = ()
    intact: bool = False
    mark: str = ''
    beats: int = 0
    healthy: bool = True
    size: int = 0


def read(console: str) -> Guest:
    """Read what a console shows, which may be less than all."""
    text = console.replace('\r', '')
    # The firmware writes nothing that looks like it; a reboot inside the
    # machine does.
    text = text[max(text.rfind('=== diary begins'), 0):]
    diary, mark = _DIARY.search(text), _MARK.search(text)
    beats = _BEAT.findall(text)
    return Guest(
        tuple(diary[1].splitlines()) if diary else (),
        bool(diary and diary[2] == 'intact'), mark[1] if mark else '',
        int(beats[-1][0]) if beats else 0,
        all(beat[2] == 'intact' for beat in beats),
        int(beats[-1][1]) * 512 if beats else 0)
