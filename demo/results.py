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
from typing import Mapping


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a host did with a template so far, or in some time.

    :param template_bytes: read over the network, from the template's disks
    :param cache_bytes: read of the cached template, wherever from
    :param new_bytes: those of template_bytes that this host never fetched
        before, each counted once; known of laps only
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
class Boot:
    """One life of a VM.

    :param seconds: from its start to its power-off
    :param diary: all lines on its disk, its own last one included
    :param intact: whether its files are what the distribution made them
    """

    seconds: float
    diary: tuple[str, ...]
    intact: bool


@dataclasses.dataclass(frozen=True)
class Stay:
    """A volume on a host: attached, booted from, detached.

    :param volume: its short name
    :param attach_seconds: Cinder's part and the host's
    :param attach_reading: what the host read for that
    :param boot_reading: what it read while the VM ran
    """

    volume: str
    host: str
    attach_seconds: float
    attach_reading: Reading
    boot: Boot
    boot_reading: Reading

    @property
    def vm(self) -> str:
        """The name of the VM that booted."""
        return vm_name(self.volume, self.host)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A whole run.

    :param create_seconds: of each volume, by its short name
    :param stays: in the order they happened on each host and to each volume
    :param leftovers: what was still on hosts after the last detach
    """

    create_seconds: Mapping[str, float]
    stays: tuple[Stay, ...]
    leftovers: tuple[str, ...]


def vm_name(volume: str, host: str) -> str:
    """The name a VM is given, which it writes in its diary."""
    return f'{volume}@{host}'
