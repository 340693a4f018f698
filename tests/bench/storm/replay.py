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

"""Replays a boot on a host's volume; runs there.

Only the standard library is used, since every host imports this.
"""

import dataclasses
import mmap
import os
import pickle
import time
from typing import Sequence
import zlib

_LARGEST = 1 << 20


@dataclasses.dataclass(frozen=True)
class Step:
    """One request.

    :ivar pause: seconds before it.
    :ivar offset: bytes, as ``length``; both are aligned to what any disk
        reads by.
    :ivar checksum: CRC-32 of what is to be read, or is written.
    :ivar written: what to write; None means to read.
    """

    pause: float
    offset: int
    length: int
    checksum: int
    written: bytes | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of it.

    :ivar late: seconds by which it began too late.
    :ivar seconds: from the moment it was to begin until it was done.
    :ivar waited: seconds of these that it waited for the volume.
    :ivar longest: seconds that the slowest request took.
    :ivar progress: seconds and bytes read until then, every now and then.
    :ivar wrong: what was not as it should be.
    """

    late: float
    seconds: float
    waited: float
    longest: float
    progress: tuple[tuple[float, int], ...]
    wrong: tuple[str, ...]


def run(path: str, steps: Sequence[Step], begin: float,
        interval: float) -> Outcome:
    """Replay a boot.

    :param path: the volume's device.
    :param begin: when, in seconds since the epoch, as all hosts know it.
    :param interval: seconds between two samples of the progress.
    """
    file = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        return _Replay(file, begin, interval).run(steps)
    finally:
        os.close(file)


def follow(path: str, plan: str, begin: float, interval: float) -> Outcome:
    """Replay a boot that is kept in a file; see :func:`run`."""
    with open(plan, 'rb') as file:
        steps = pickle.load(file)
    return run(path, steps, begin, interval)


class _Replay:

    def __init__(self, file: int, begin: float, interval: float) -> None:
        self._file = file
        self._buffer = mmap.mmap(-1, _LARGEST)
        self._begin = begin
        self._interval = interval
        self._waited = self._longest = 0.0
        self._read = 0
        self._progress: list[tuple[float, int]] = [(0.0, 0)]
        self._wrong: list[str] = []

    def run(self, steps: Sequence[Step]) -> Outcome:
        time.sleep(max(0.0, self._begin - time.time()))
        late = time.time() - self._begin
        begun, computed = time.monotonic(), 0.0
        for step in steps:
            computed += step.pause
            _sleep_until(begun + computed + self._waited)
            started = time.monotonic()
            try:
                self._do(step)
            except OSError as error:
                self._wrong.append(f'at {step.offset}: {error}')
            took = time.monotonic() - started
            self._waited += took
            self._longest = max(self._longest, took)
            self._sample(time.time() - self._begin)
        seconds = time.time() - self._begin
        self._progress.append((round(seconds, 2), self._read))
        return Outcome(round(late, 3), round(seconds, 3),
                       round(self._waited, 3), round(self._longest, 3),
                       tuple(self._progress), tuple(self._wrong))

    def _do(self, step: Step) -> None:
        view = memoryview(self._buffer)[:step.length]
        if step.written is not None:
            view[:] = step.written
            if os.pwritev(self._file, [view], step.offset) != step.length:
                self._wrong.append(f'short write at {step.offset}')
            return
        if os.preadv(self._file, [view], step.offset) != step.length:
            self._wrong.append(f'short read at {step.offset}')
        elif zlib.crc32(view) != step.checksum:
            self._wrong.append(f'wrong bytes at {step.offset}')
        self._read += step.length

    def _sample(self, now: float) -> None:
        if now - self._progress[-1][0] >= self._interval:
            self._progress.append((round(now, 2), self._read))


def _sleep_until(due: float) -> None:
    """Wait for a moment; who is late already makes up for it."""
    left = due - time.monotonic()
    if left > 0:
        time.sleep(left)
