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

"""What a virtual machine reads and writes while it boots.

``boot.trace`` beside this file was recorded from a real boot; see
:mod:`tests.bench.storm.record`. Its first line is a JSON object of what was
booted. Then comes a line per request: ``R`` or ``W``, the first sector, how
many, and for how many microseconds nothing was under way before it. Of the
requests, 97 % came when the one before had been answered, so the rest are
put one after the other too.
"""

import dataclasses
import json
import pathlib
import re
from typing import Iterable, Sequence

FILE = pathlib.Path(__file__).with_name('boot.trace')
SECTOR = 512

_EVENT = re.compile(r'\d+@(?P<time>[\d.]+):virtio_blk_(?P<what>handle_read|'
                    r'handle_write|rw_complete) .*?req (?P<request>\S+)'
                    r'(?: sector (?P<sector>\d+) nsectors (?P<count>\d+))?')


@dataclasses.dataclass(frozen=True)
class Request:
    """One read or write.

    :ivar pause: seconds that passed before it with nothing under way.
    :ivar offset: bytes, as ``length``.
    """

    write: bool
    offset: int
    length: int
    pause: float


@dataclasses.dataclass(frozen=True)
class Trace:
    """A boot.

    :ivar guest: what was booted, and how.
    :ivar disk_size: of the guest's disk in bytes.
    :ivar image_size: of the image file that the disk came from, in bytes.
    """

    guest: str
    disk_size: int
    image_size: int
    requests: tuple[Request, ...]

    @property
    def seconds(self) -> float:
        """How long the guest computes in all."""
        return sum(request.pause for request in self.requests)

    def thinned(self, share: int) -> 'Trace':
        """Keep one request of so many.

        The pauses are kept, and the image has so much less data.
        """
        kept = []
        pause = 0.0
        for number, request in enumerate(self.requests):
            pause += request.pause
            if number % share == 0:
                kept.append(dataclasses.replace(request, pause=pause))
                pause = 0.0
        return dataclasses.replace(self, requests=tuple(kept),
                                   image_size=self.image_size // share)

    def to_text(self) -> str:
        head = {'guest': self.guest, 'disk_size': self.disk_size,
                'image_size': self.image_size}
        return '\n'.join([json.dumps(head), *(
            f'{"W" if request.write else "R"} {request.offset // SECTOR} '
            f'{request.length // SECTOR} {request.pause * 1e6:.0f}'
            for request in self.requests)]) + '\n'

    @classmethod
    def from_text(cls, text: str) -> 'Trace':
        """Read a trace.

        :raises ValueError: a line is not as it should be.
        """
        head, *lines = text.splitlines()
        return cls(requests=tuple(map(_request, lines)), **json.loads(head))


def load() -> Trace:
    """Return the boot that was recorded."""
    return Trace.from_text(FILE.read_text())


def _request(line: str) -> Request:
    kind, sector, count, pause = line.split(' ')
    if kind not in ('R', 'W'):
        raise ValueError(f'neither a read nor a write: {line}')
    return Request(kind == 'W', int(sector) * SECTOR, int(count) * SECTOR,
                   int(pause) / 1e6)


def from_events(lines: Iterable[str]) -> Sequence[Request]:
    """Return the requests of a log of QEMU's trace events."""
    requests = []
    under_way: set[str] = set()
    idle_since: float | None = None
    for line in lines:
        event = _EVENT.match(line)
        if event is None:
            continue
        now = float(event['time'])
        if event['what'] == 'rw_complete':
            under_way.discard(event['request'])
            if not under_way:
                idle_since = now
            continue
        idle = not under_way and idle_since is not None
        requests.append(Request(
            event['what'] == 'handle_write', int(event['sector']) * SECTOR,
            int(event['count']) * SECTOR,
            now - (idle_since or now) if idle else 0.0))
        under_way.add(event['request'])
    return requests
