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

"""What the demo measures; the report is made of nothing else."""

from __future__ import annotations

import dataclasses

from tests.lab import guestlog


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a host read of a template in some time.

    :ivar template_bytes: over the network, from the template's map.
    :ivar cache_bytes: of the cached template, wherever that had it from.
    :ivar new_bytes: those of template_bytes that the host never fetched
        before, each counted once.
    """

    template_bytes: int = 0
    cache_bytes: int = 0
    new_bytes: int = 0

    @property
    def again_bytes(self) -> int:
        """Those of template_bytes that the host had fetched before."""
        return self.template_bytes - self.new_bytes

    @property
    def hit_bytes(self) -> int:
        """What the cache had, provided that nobody read beside it."""
        return self.cache_bytes - self.template_bytes

    def __add__(self, other: Reading) -> Reading:
        return Reading(self.template_bytes + other.template_bytes,
                       self.cache_bytes + other.cache_bytes,
                       self.new_bytes + other.new_bytes)

    def __sub__(self, other: Reading) -> Reading:
        return Reading(self.template_bytes - other.template_bytes,
                       self.cache_bytes - other.cache_bytes,
                       self.new_bytes - other.new_bytes)


@dataclasses.dataclass(frozen=True)
class Server:
    """A server of Nova.

    :ivar name: its short name.
    :ivar id: the UUID by which it calls itself.
    """

    name: str
    id: str


@dataclasses.dataclass(frozen=True)
class Boot:
    """One life of a server, on one host.

    :ivar host: by name, as Nova says.
    :ivar active_seconds: from the request to ACTIVE.
    :ivar userland_seconds: from the request to the end of its diary.
    :ivar guest: what it said of itself on its console.
    """

    server: Server
    host: str
    active_seconds: float
    userland_seconds: float
    guest: guestlog.Guest


@dataclasses.dataclass(frozen=True)
class Turn:
    """What a host read while servers booted and served there.

    :ivar servers: those that came, by their short names; others that were
        there before may go on.
    """

    host: str
    servers: tuple[str, ...]
    reading: Reading = Reading()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A whole run.

    :ivar boots: in the order in which each server lived them.
    :ivar turns: in the order in which each host had them.
    :ivar imports: how often the backend imported the image.
    :ivar leftovers: what was still there when all servers were deleted.
    """

    boots: tuple[Boot, ...]
    turns: tuple[Turn, ...]
    imports: int
    leftovers: tuple[str, ...]
