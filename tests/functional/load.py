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

"""A guest's reads and writes, with every byte known; runs on its host."""

import dataclasses
import mmap
import os
import random
import threading
import time

from tests.functional import backend

#: What the template is read by. A piece in each MIB is written to instead,
#: less than the snapshot's chunk, so that the rest of it is copied.
BLOCK = 64 << 10
MIB = 1 << 20
_WRITTEN = 512 << 10
_PIECE = 4096


@dataclasses.dataclass
class Report:
    """What became of it.

    :ivar reads: how many there were.
    :ivar writes: how many there were.
    :ivar stall: seconds that the longest of them took.
    :ivar stalled_at: when it began, in seconds from the start.
    :ivar wrong: what was not as it should be.
    """

    reads: int = 0
    writes: int = 0
    stall: float = 0.0
    stalled_at: float = 0.0
    wrong: list[str] = dataclasses.field(default_factory=list)


class _Load:

    def __init__(self, path: str, template_id: str, template_size: int,
                 seconds: float) -> None:
        self._path = path
        self._size = template_size
        self._start = time.monotonic()
        self._end = self._start + seconds
        self._lock = threading.Lock()
        self.expected = bytearray(backend.content(template_id,
                                                  template_size))
        self.report = Report()

    def run(self) -> Report:
        threads = [threading.Thread(target=self._guarded, args=(task,))
                   for task in (self._read, self._write)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._guarded(self._compare)
        return self.report

    def _guarded(self, task) -> None:
        try:
            task()
        except OSError as error:
            self.report.wrong.append(f'{task.__name__}: {error}')

    def _timed(self, start: float) -> None:
        took = time.monotonic() - start
        with self._lock:
            if took > self.report.stall:
                self.report.stall = took
                self.report.stalled_at = start - self._start

    def _read(self) -> None:
        """Read on slowly, so that there's always something not cached."""
        file = os.open(self._path, os.O_RDONLY | os.O_DIRECT)
        buffer = mmap.mmap(-1, BLOCK)
        offset = 0
        while time.monotonic() < self._end:
            if offset % MIB != _WRITTEN:
                start = time.monotonic()
                os.preadv(file, [buffer], offset)
                self._timed(start)
                self.report.reads += 1
                if buffer[:] != self.expected[offset:offset + BLOCK]:
                    self.report.wrong.append(f'read at {offset}')
            offset = (offset + BLOCK) % self._size
            time.sleep(0.06)
        os.close(file)

    def _write(self) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_DSYNC)
        chance = random.Random(0)
        while time.monotonic() < self._end:
            data = chance.randbytes(_PIECE)
            offset = (chance.randrange(self._size // MIB) * MIB + _WRITTEN +
                      chance.randrange(BLOCK // _PIECE) * _PIECE)
            start = time.monotonic()
            os.pwrite(file, data, offset)
            self._timed(start)
            self.expected[offset:offset + _PIECE] = data
            self.report.writes += 1
            time.sleep(0.25)
        os.close(file)

    def _compare(self) -> None:
        """Look at the whole volume; behind the template are zeroes."""
        file = os.open(self._path, os.O_RDONLY | os.O_DIRECT)
        buffer = mmap.mmap(-1, MIB)
        for offset in range(0, os.lseek(file, 0, os.SEEK_END), MIB):
            os.preadv(file, [buffer], offset)
            wanted = self.expected[offset:offset + MIB].ljust(MIB, b'\0')
            if buffer[:] != wanted:
                self.report.wrong.append(f'at the end: {offset}')
        os.close(file)


def run(path: str, template_id: str, template_size: int,
        seconds: float) -> Report:
    """Read and write a volume of a fresh template; then look at all of it.

    :param path: the volume's device; its size is a multiple of 1 MiB.
    :param seconds: how long.
    """
    return _Load(path, template_id, template_size, seconds).run()
