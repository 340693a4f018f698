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

"""Measure in the lab what the cache layers keep.

    python -m tests.lab.sandbox -- python -m tests.bench.caches

Prints rows of two tables in reStructuredText. The first: for each layer, what
share of what the first pass over a template fetched others fetch again.
"guest" reads here and there in requests of 4 to 128 KiB, as a guest that
boots; "whole" reads all of it in requests of 1 MiB. The second: what a guest's
second pass with bcache fetches again, for sets of some sizes on devices whose
writes take some time.
"""

import dataclasses
import time
from typing import Callable

from tests.functional import base
from tests.functional import caching
from tests.functional import test_caches
from tests import lab

_SIZE = 48 << 20
_READERS = (('guest', caching.read_as_guest), ('whole', caching.checksum))
# Passes in which a layer that keeps nothing at once may learn.
_PASSES = 5
_SIZES = (4, 8, 16, 32)
_MILLISECONDS = (0, 100, 300, 1000)


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of a layer with a reader.

    :ivar second: share of the first pass that the second fetched again.
    :ivar later: the same, of a pass after some more.
    :ivar attached_anew: the same, after the template was detached.
    :ivar power_cut: the same, after the host's power was cut.
    """

    layer: str
    reader: str
    second: float
    later: float
    attached_anew: float
    power_cut: float

    def __str__(self) -> str:
        shares = (self.second, self.later, self.attached_anew,
                  self.power_cut)
        return '   * - {}\n     - {}\n'.format(self.layer, self.reader) + (
            '\n'.join(f'     - {share:.1%}' for share in shares))


class Measurement:
    """One layer with one reader, on a host of the lab."""

    def __init__(self, host: lab.Host, layer: str,
                 reader: Callable[[str], object]) -> None:
        self._host = host
        self._layer = layer
        self._reader = reader
        self._source = ''
        self._path = ''

    def run(self, name: str) -> Row:
        """Do it, and remove everything.

        :param name: of the reader.
        """
        self._attach()
        first = self._fetched()
        second = self._fetched()
        for _pass in range(_PASSES - 3):
            time.sleep(1.5)
            self._fetched()
        time.sleep(1.5)
        later = self._fetched()
        self._host.call(caching.detach, self._layer, caching.ONE)
        self._attach()
        anew = self._fetched()
        time.sleep(test_caches.SETTLED_SECONDS.get(self._layer, 0))
        self._host.call(caching.settle, self._layer, caching.ONE)
        self._host.power_off()
        self._host.power_on()
        self._attach()
        cut = self._fetched()
        self._host.call(caching.remove_everything, self._layer)
        return Row(self._layer, name, second / first, later / first,
                   anew / first, cut / first)

    def run_on_slow_device(self, gibibytes: int, milliseconds: int) -> float:
        """Return what share the second pass fetches again; remove the cache.

        :param gibibytes: size of the cache device.
        :param milliseconds: that each write to it takes.
        """
        self._attach(self._host.call(caching.make_slow_device,
                                     gibibytes << 30, milliseconds))
        first = self._fetched()
        share = self._fetched() / first
        self._host.call(caching.detach, self._layer, caching.ONE)
        self._host.call(caching.remove_device, self._layer)
        return share

    def _attach(self, device: str = '') -> None:
        self._source, _digest = self._host.call(caching.make_source, _SIZE)
        self._path = self._host.call(caching.attach, self._layer,
                                     caching.ONE, self._source, _SIZE, device)

    def _fetched(self) -> int:
        self._host.call(caching.drop_page_cache)
        before: int = self._host.call(caching.fetched, self._source)
        self._host.call(self._reader, self._path)
        return self._host.call(caching.fetched, self._source) - before


def main() -> None:
    """Measure the layers that the lab's kernel can have, and slow devices."""
    host = base.get_host(test_caches.HOST)
    host.preload(*caching.MODULES)
    for layer in reversed(test_caches.LAYERS):
        for name, reader in _READERS:
            print(Measurement(host, layer, reader).run(name), flush=True)
    for layer in test_caches.LACKING:
        print(host.call(caching.refusal, layer))
    slow = Measurement(host, 'bcache', caching.read_as_guest)
    for size in _SIZES:
        print(f'   * - {size} GiB', flush=True)
        for milliseconds in _MILLISECONDS:
            share = slow.run_on_slow_device(size, milliseconds)
            print(f'     - {share:.1%}', flush=True)


if __name__ == '__main__':
    main()
