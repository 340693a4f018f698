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

import concurrent.futures
from typing import Sequence

from demo import fetches
from demo import probe
from demo import results
from tests import lab

_FOREVER = 24 * 3600
# A look takes some seconds of a busy host. What a guest fetches meanwhile may
# be seen by one counter only, until the next look.
_LOOKS = 4


class Meter:
    """Reads a host's counters; remembers all that the host ever fetched.

    The counters live as long as the template is attached; a lap is the time
    between two looks at them. What is read after the last look in that time
    is not counted.

    :param host: it is up, and no template is attached.
    """

    def __init__(self, host: lab.Host) -> None:
        self._host = host
        self._fetched: set[int] = set()
        self._last = probe.Look(0, 0, 0, [])
        pool = concurrent.futures.ThreadPoolExecutor(1)
        self._watching = pool.submit(host.call, fetches.keep_watching,
                                     timeout=_FOREVER)

    def lap(self) -> results.Reading:
        """Return what was read since the last call.

        :raises LookupError: no template is attached.
        """
        if self._watching.done():
            self._watching.result()
        reading = self._look()
        for _ in range(_LOOKS - 1):
            if reading.again_bytes:
                reading += self._look()
        return reading

    def _look(self) -> results.Reading:
        now = self._host.call(probe.look)
        last, self._last = self._last, now
        if last.sequence != now.sequence:
            last = probe.Look(now.sequence, 0, 0, [])
        return results.Reading(now.disk_bytes - last.disk_bytes,
                               now.cache_bytes - last.cache_bytes,
                               self._new(now.areas))

    def _new(self, areas: Sequence[fetches.Area]) -> int:
        """Remember areas, and say what was read for the first time."""
        new = 0
        for area in areas:
            if area.start not in self._fetched:
                self._fetched.add(area.start)
                new += min(area.sectors, area.length)
        return new * fetches.SECTOR
