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

"""One line for each step that is done; on a terminal, also what is going on.

A line has the time since the beginning, where the step was, what it was
and how long it took. Several threads may report at once.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
import time
from typing import Iterator
from typing import TextIO

_INTERVAL = 0.25
_CLEAR = '\r\x1b[K'


class Progress:
    """Reports to a stream, which is a terminal or not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._began = time.monotonic()
        self._running: dict[int, tuple[str, str, float]] = {}
        self._keys = itertools.count()
        # A signal's handler closes, whatever its thread was about to report.
        self._lock = threading.RLock()
        self._ended = threading.Event()
        if self._live:
            threading.Thread(target=self._refresh, daemon=True).start()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def step(self, where: str, what: str) -> Iterator[None]:
        """Report a step when it is done; one that fails says so."""
        began = time.monotonic()
        key = next(self._keys)
        with self._lock:
            self._running[key] = (where, what, began)
        failed = True
        try:
            yield
            failed = False
        finally:
            seconds = time.monotonic() - began
            with self._lock:
                del self._running[key]
            self.tell(where, what,
                      'FAILED' if failed else f'{seconds:6.1f} s')

    def tell(self, where: str, what: str, result: str) -> None:
        """Report something that is over."""
        with self._lock:
            self._line(f'[{self.elapsed:6.1f} s]  {where:<14} {what:<36} '
                       f'{result}')

    def close(self) -> None:
        """End the live line; what is printed now begins on a clean one."""
        with self._lock:
            if self._live and not self._ended.is_set():
                self._write(_CLEAR)
            self._ended.set()

    def _refresh(self) -> None:
        while not self._ended.wait(_INTERVAL):
            with self._lock:
                if not self._ended.is_set():
                    self._write(_CLEAR + self._status())

    def _status(self) -> str:
        now = time.monotonic()
        steps = '; '.join(f'{where}: {what} {now - began:.0f} s' for
                          where, what, began in self._running.values())
        line = f'[{self.elapsed:6.1f} s]  {steps} ...'
        return line[:shutil.get_terminal_size().columns - 1]

    def _line(self, text: str) -> None:
        if self._ended.is_set():
            return
        if self._live:
            self._write(f'{_CLEAR}{text}\n{self._status()}')
        else:
            self._write(f'{text}\n')

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
