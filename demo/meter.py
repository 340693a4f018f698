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

"""What a host reads of the template, from one moment to the next."""

import dataclasses
from typing import Sequence

from demo import fetches
from demo import probe
from demo import results
from os_brick_vmthunder import connection
from tests import lab


class Meter:
    """Reads a host's counters; remembers all that the host ever fetched.

    A visit is the time in which the template is attached: the host's
    counters live as long. A lap is the time between two readings.
    """

    def __init__(self, host: lab.Host) -> None:
        self._host = host
        self._fetched: set[int] = set()
        self.begin_visit()

    def begin_visit(self) -> None:
        """Get ready; the template is not attached."""
        self._last: results.Reading | None = None

    def lap(self, template_id: str) -> results.Reading:
        """Return what was read since the last call; it is attached.

        In the first lap of a visit, which ends with the first attachment,
        nobody looks for what was read before.
        """
        wwid = connection.wwid(template_id)
        now = self._host.call(probe.read, wwid)
        last, self._last = self._last, now
        if last is None:
            self._host.call(fetches.watch, wwid)
            return now
        lap = now - last
        # It takes seconds, and often there is nothing to see.
        if lap.template_bytes:
            areas = self._host.call(fetches.take, wwid)
            lap = dataclasses.replace(lap, new_bytes=self._new(areas))
        return lap

    def _new(self, areas: Sequence[fetches.Area]) -> int:
        """Remember areas, and say what was read for the first time."""
        new = sum(min(area.sectors, area.length) for area in areas
                  if area.start not in self._fetched)
        self._fetched.update(area.start for area in areas)
        return new * fetches.SECTOR
