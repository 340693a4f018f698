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

"""Fetches a template's blocks ahead of the guests, into the cache.

What is read of the cached template fills its cache. It is read in the order
that the profile foretells, in large requests, one at a time. As long as the
cache turns out to lack most of each, it is told what comes next, so that the
requests over the network are large, too.

What guests are about to ask for comes beside their reads: they would wait for
it anyway, and a parent that let its children go first would stay behind them,
so that each block came through all levels of the tree one after another. All
else, a second look at what the cache has kept and the rest of a template,
comes while nobody else has a request under way, a guest or a child.

The device is opened for each request anew: who takes it down has to wait for
none but that, and for what of it is still read ahead. Reads may hang, as
others' do when no path is left. Each template has a thread of its own, which
nobody waits for.
"""

import contextlib
import dataclasses
import errno
import mmap
import os
import time
from typing import Any, Callable, Iterator

from oslo_log import log as logging

from os_brick_vmthunder.caches import base as caches
from os_brick_vmthunder import conf
from os_brick_vmthunder import exception
from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder import paths
from os_brick_vmthunder import stack
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

# How much of a profile guests are likely to ask for at once. A wrong one holds
# them up by no more than that.
_DUE = 64 << 20
#: Bytes of a request, at most, while guests read, and where it takes long.
LARGE, SMALL, LEAST = 1 << 20, 256 << 10, 64 << 10
# How many seconds a request may take before the next ones are smaller, and
# how soon it has to be there before they are larger again.
_SLOW, _FAST = 0.25, 0.06
# Seconds for which nobody may have read before the one or the other.
_LONG_PAUSE, _SHORT_PAUSE = 0.25, 0.004
# How long to wait before a look whether somebody reads, at first and, since
# each look takes the processor, at last.
_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.002, 0.032
# How long to wait after a failed read.
_RETRY_SECONDS = 3.0
# Caches don't keep all of what they let pass. So all is asked for again until
# a round brings no more than so many bytes, which are the cache's own, but not
# for ever.
_MOST_ROUNDS = 5
_NEGLIGIBLE = 48 << 10
# How often to write down how far it is.
_NOTE_SECONDS = 1.0

# Fields of a block device's stat.
_SECTORS_READ, _IN_FLIGHT = 2, 8


class Demand:
    """Whether others read from a device.

    :param kernel: the kernel's name of it.
    """

    def __init__(self, kernel: str,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._kernel = kernel
        self._clock = clock
        self._expected = -1
        self._seen = clock()

    def room(self) -> int:
        """Return how many bytes may be asked for now; 0 for none."""
        fields = (sysfs.attribute(self._kernel, 'stat') or '').split()
        if len(fields) <= _IN_FLIGHT:
            return SMALL  # it is gone: to read it tells
        read, waiting = int(fields[_SECTORS_READ]), int(fields[_IN_FLIGHT])
        now = self._clock()
        if waiting or read != self._expected:
            self._seen = now
            self._expected = read
        pause = now - self._seen
        if waiting or pause < _SHORT_PAUSE:
            return 0
        return LARGE if pause >= _LONG_PAUSE else SMALL

    def took(self, length: int) -> None:
        """Don't take what was read just now for somebody else's reading."""
        self._expected += length // sysfs.SECTOR


class Fetch:
    """What is fetched of one template.

    :param template_id: UUID.
    :param what: it; fetching ends when it is no longer what is wanted.
    :param mode: what the option ``prefetch`` says.
    :param cache: of this host.
    :raises InvalidProfile: what is to be fetched makes no sense.
    """

    def __init__(self, template_id: str, what: hostprofiles.Foretold,
                 mode: str, cache: caches.Cache) -> None:
        self._id = template_id
        self._what = what
        self._cache = cache
        self._demand: Demand | None = None
        self._device = ''
        self._most = LARGE
        self._ahead = caches.Ahead()
        self._wait = _LOOK_SECONDS
        self._noted = 0.0
        foretold = what.profile
        self._plan = foretold.pieces + (
            foretold.rest if mode == conf.PREFETCH_ALL else ())
        self._total = sum(length for _offset, length in self._plan)
        self._progress = hostprofiles.Progress(
            mode, foretold.digest, foretold.bytes)

    def run(self) -> None:
        """Fetch until there is nothing left, or nobody wants it any more."""
        there = hostprofiles.progress.read(self._id)
        if there and there.is_of(self._progress):
            if there.is_over:
                return
            self._progress = there
        if not self._is_cached():
            self._note(state=hostprofiles.UNCACHED)
            return
        if not self._plan:
            self._note(state=hostprofiles.COMPLETE)
            return
        LOG.info('%(total)d bytes of template %(id)s are fetched',
                 {'total': self._total, 'id': self._id})
        self._note(state=hostprofiles.FETCHING)
        while self._round():
            pass

    def _round(self) -> bool:
        """Ask for all once; return whether to do so again."""
        before, is_whole = self._fetched_bytes(), not self._progress.done
        for offset, length in self._left():
            if not self._fetch(offset, length):
                return False
        new = self._fetched_bytes() - before
        number = self._progress.round + 1
        LOG.info('Round %(number)d over %(total)d bytes of template %(id)s '
                 'brought %(new)d', {'number': number, 'total': self._total,
                                     'id': self._id, 'new': new})
        if number >= _MOST_ROUNDS or (
                is_whole and new <= _NEGLIGIBLE):
            self._note(state=hostprofiles.COMPLETE)
            return False
        self._note(round=number, done=0)
        return True

    def _left(self) -> Iterator[tuple[int, int]]:
        """Yield what is left of this round."""
        done = self._progress.done
        for offset, length in self._plan:
            skipped = min(done, length)
            done -= skipped
            if length > skipped:
                yield offset + skipped, length - skipped

    def _fetch(self, offset: int, length: int) -> bool:
        """Fetch an extent; return False if it is no longer wanted."""
        end = offset + length
        while offset < end:
            if hostprofiles.foretold.read(self._id) != self._what:
                return False
            try:
                offset += self._fetch_some(offset, end - offset)
            except (OSError, exception.VMThunderException) as error:
                # It isn't done. There may be no path just now, or the
                # template is going.
                LOG.debug('Template %(id)s: %(error)s',
                          {'id': self._id, 'error': error})
                self._demand = None
                self._note(state=hostprofiles.WAITING)
                time.sleep(_RETRY_SECONDS)
        return True

    def _fetch_some(self, offset: int, length: int) -> int:
        """Fetch as much as there is room for now; return how much.

        :raises OSError: it could not be read.
        :raises CacheError: the template isn't here.
        """
        if self._demand is None:
            self._device = self._find()
            self._ahead = self._cache.ahead(self._id)
            self._demand = Demand(sysfs.kernel_name(self._device))
        room = self._demand.room() or self._beside
        length = min(length, room, self._most)
        if not length:
            time.sleep(self._wait)
            self._wait = min(self._wait * 2, _LONGEST_LOOK_SECONDS)
            return 0
        self._wait = _LOOK_SECONDS
        begun = time.monotonic()
        # what is below stays as long as the device is open
        with _open(self._device) as file, self._ahead.of(offset, length):
            _read(file, offset, length)
        self._adapt(length, time.monotonic() - begun)
        self._demand.took(length)
        done = self._progress.done + length
        self._progress = dataclasses.replace(
            self._progress, done=done,
            fetched=max(self._progress.fetched, done),
            state=hostprofiles.FETCHING)
        if time.monotonic() - self._noted >= _NOTE_SECONDS:
            self._note()
        return length

    @property
    def _beside(self) -> int:
        """How many bytes may be asked for while others wait."""
        there = self._progress
        is_due = not there.round and there.done < min(there.foretold, _DUE)
        return SMALL if is_due else 0

    def _adapt(self, length: int, seconds: float) -> None:
        """Ask for less where a guest, or a detach, would wait for long."""
        if seconds > _SLOW:
            self._most = max(LEAST, min(length, self._most) // 2)
        elif seconds < _FAST and length == self._most:
            self._most = min(LARGE, self._most * 2)

    def _note(self, **changes: Any) -> None:
        self._progress = dataclasses.replace(self._progress, **changes)
        self._noted = time.monotonic()
        hostprofiles.note_progress(self._id, self._progress)

    def _find(self) -> str:
        device = self._cache.device(self._id)
        if device is None:
            raise exception.CacheError(
                cache=self._id, reason=_('the template is not attached'))
        return device

    def _is_cached(self) -> bool:
        """Tell whether what is read stays: there is something in between."""
        source = paths.find(self._id)
        device = self._cache.device(self._id)
        return not (source and device) or not stack.stands_on(device, source)

    def _fetched_bytes(self) -> int:
        stats = self._cache.stats(self._id)
        return stats.fetched_bytes if stats else 0


@contextlib.contextmanager
def _open(device: str) -> Iterator[int]:
    """Open a device whose reads pass the page cache.

    :raises OSError: it can't be opened.
    """
    file = os.open(device, os.O_RDONLY | os.O_DIRECT)
    try:
        yield file
    finally:
        os.close(file)


def _read(file: int, offset: int, length: int) -> None:
    """Read a part of a device.

    :raises OSError: it could not be read.
    """
    # whole pages; there is nothing behind the device's end
    with mmap.mmap(-1, -(-length // mmap.PAGESIZE) *
                   mmap.PAGESIZE) as buffer:
        if os.preadv(file, [buffer], offset) < length:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
