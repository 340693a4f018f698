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


class Meter:
    """Reads a host's counters; remembers all that the host ever fetched.

    The counters live as long as the template is attached; a lap is the time
    between two looks at them. A look takes some seconds of a busy host, and
    guests that write fetch something all the time. How much a host read
    again is told only as far as that is certain.

    :param host: it is up, and no template is attached.
    """

    def __init__(self, host: lab.Host) -> None:
        self._host = host
        self._fetched: set[int] = set()
        # The map that was looked at last, and what was read in its life.
        self._sequence = 0
        self._read = results.Reading()
        pool = concurrent.futures.ThreadPoolExecutor(1)
        self._watching = pool.submit(host.call, fetches.keep_watching,
                                     timeout=_FOREVER)

    def lap(self) -> results.Reading:
        """Return what was read since the last call.

        :raises LookupError: no template is attached.
        """
        if self._watching.done():
            self._watching.result()
        now = self._host.call(probe.look)
        if now.sequence != self._sequence:
            self._sequence, self._read = now.sequence, results.Reading()
        last = self._read
        new = last.new_bytes + self._new(now.areas)
        # Below zero if the counters contradict each other.
        again = min(max(last.again_bytes, now.least - new), now.most - new)
        self._read = results.Reading(new + again, now.cache_bytes, new)
        return self._read - last

    def _new(self, areas: Sequence[fetches.Area]) -> int:
        """Remember areas, and say what was read for the first time."""
        new = 0
        for area in areas:
            if area.start not in self._fetched:
                self._fetched.add(area.start)
                new += min(area.sectors, area.length)
        return new * fetches.SECTOR
