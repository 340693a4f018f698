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

"""Whether what a host reads of a template still comes.

Nothing is read to find out: the kernel counts what is asked of its devices
and what is answered.
"""

import dataclasses
import os
import time
from typing import Callable, Iterator, Optional

from os_brick_vmthunder import devicemapper
from os_brick_vmthunder import paths
from os_brick_vmthunder import sysfs

#: How long nothing may come before a host counts as cut off, in seconds.
PATIENCE = 4.0
#: The same while it has another path: multipath leaves one that hangs after
#: about 14 seconds.
LONG_PATIENCE = 20.0

# States of a disk whose path multipath hasn't given up.
_HOPEFUL = ('running', 'blocked')

_KIND = 'VMTHUNDER-template-'
# Fields of a block device's stat.
_READS, _WRITES, _IN_FLIGHT = 0, 4, 8


@dataclasses.dataclass(frozen=True)
class Load:
    """What a device has to do.

    :ivar answered: how many requests it ever answered.
    :ivar waiting: how many wait for their answer.
    """

    answered: int
    waiting: int

    @classmethod
    def of(cls, kernel: str) -> 'Load':
        """Read it.

        :param kernel: the kernel's name of the device; one that isn't there
            has nothing to do.
        """
        fields = (sysfs.attribute(kernel, 'stat') or '').split()
        if len(fields) <= _IN_FLIGHT:
            return cls(0, 0)
        return cls(int(fields[_READS]) + int(fields[_WRITES]),
                   int(fields[_IN_FLIGHT]))


class Watch:
    """Since when something has work and gets none of it done."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answered = -1
        self._since: Optional[float] = None

    def reset(self) -> None:
        self._since = None

    def stuck(self, load: Load) -> float:
        """Take a look.

        :returns: for how many seconds now nothing was answered.
        """
        now = self._clock()
        if not load.waiting:
            self._since = None
        elif self._since is None or load.answered != self._answered:
            self._since = now
        self._answered = load.answered
        return 0.0 if self._since is None else now - self._since


class Upstream:
    """What a template comes from on this host: paths, and the cache."""

    def __init__(self, template_id: str,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._id = template_id
        self._source = Watch(clock)
        self._whole = Watch(clock)
        self._paths = 0

    def stalled(self, cached: str) -> bool:
        """Take a look; to be called every second or so.

        :param cached: the kernel's name of the cached template.
        :returns: whether who reads the template here waits in vain.
        """
        device = paths.find(self._id)
        if device is None:
            return False
        kernel = os.path.basename(device)
        source, whole = Load.of(kernel), Load.of(cached)
        hopeful = _hopeful(kernel)
        if hopeful and self._paths and hopeful != self._paths:
            # What waited for another path is only now tried on these.
            self._source.reset()
            self._whole.reset()
        elif not hopeful:
            # The map doesn't count what it queues; what the cache alone
            # answers is no sign of life from above.
            source = Load(source.answered, source.waiting + whole.waiting)
        self._paths = hopeful
        patience = LONG_PATIENCE if hopeful > 1 else PATIENCE
        stuck = [self._source.stuck(source), self._whole.stuck(whole)]
        return max(stuck) >= patience


def _hopeful(kernel: str) -> int:
    return sum(sysfs.attribute(disk, 'device', 'state') in _HOPEFUL
               for disk in sysfs.listing(kernel, 'slaves'))


def templates() -> Iterator[tuple[str, str]]:
    """Yield what this host caches.

    :returns: for each template its id, and the kernel's name of its cached
        device.
    """
    for device in devicemapper.devices():
        if device.uuid.startswith(_KIND):
            yield device.uuid.removeprefix(_KIND), device.kernel
