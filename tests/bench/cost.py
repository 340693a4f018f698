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

"""What something costs a host, measured on it.

Time says little by itself in the lab, where starting a process takes 33 ms
against one on a real machine. So what takes the time is counted too.
"""

import contextlib
import dataclasses
import os
import sys
import time
from typing import Any, Callable, Iterator, Sequence
from unittest import mock

from oslo_concurrency import lockutils

from tests.bench import results


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a function's call did.

    :ivar seconds: it took.
    :ivar processor: seconds that the host's processor worked meanwhile, for
        whomever.
    :ivar forks: processes and threads that anybody started meanwhile.
    :ivar commands: what the caller's process ran, as it was typed.
    :ivar waited: seconds that it waited for locks, one by one, by name.
    """

    seconds: float
    processor: float
    forks: int
    commands: tuple[str, ...]
    waited: tuple[tuple[str, float], ...]

    @property
    def command_count(self) -> int:
        """How many commands the caller's process ran."""
        return len(self.commands)

    @property
    def lock_seconds(self) -> float:
        """Seconds that it waited for locks, in all its threads."""
        return sum(seconds for _name, seconds in self.waited)


@dataclasses.dataclass(frozen=True)
class _Counters:
    time: float
    processor: float
    forks: int

    @classmethod
    def now(cls) -> '_Counters':
        values = {}
        with open('/proc/stat') as file:
            for line in file:
                name, *rest = line.split()
                values[name] = rest
        # user, nice, system; then idle and waiting for disks; interrupts
        fields = [int(field) for field in values['cpu']]
        busy = sum(fields[:3] + fields[5:7]) / os.sysconf('SC_CLK_TCK')
        return cls(time.monotonic(), busy, int(values['processes'][0]))


def of(function: Callable[..., Any], *arguments: Any,
       locks: Sequence[tuple[Any, str]] = ()) -> Cost:
    """Call a function and return what it cost.

    To be called in a process that doesn't live long: what counts commands
    can't be taken away again.

    :param locks: modules and names of their functions that hold a lock,
        beside oslo.concurrency's.
    """
    commands: list[str] = []
    waited: list[tuple[str, float]] = []
    counting = True

    def count(event: str, values: tuple[Any, ...]) -> None:
        if event == 'subprocess.Popen' and counting:
            commands.append(' '.join(map(os.fsdecode, values[1])))

    sys.addaudithook(count)
    with contextlib.ExitStack() as stack:
        for module, name in (*locks, (lockutils, 'lock')):
            stack.enter_context(mock.patch.object(
                module, name, _timed(getattr(module, name), waited)))
        before = _Counters.now()
        function(*arguments)
        after = _Counters.now()
    counting = False
    return Cost(after.time - before.time, after.processor - before.processor,
                after.forks - before.forks, tuple(commands), tuple(waited))


def _timed(lock: Callable[..., contextlib.AbstractContextManager[Any]],
           waited: list[tuple[str, float]]) -> Callable[..., Any]:
    @contextlib.contextmanager
    def timed(name: str, *arguments: Any, **keywords: Any) -> Iterator[Any]:
        start = time.monotonic()
        with lock(name, *arguments, **keywords) as held:
            waited.append((name, time.monotonic() - start))
            yield held
    return timed


def figures(name: str, ours: Sequence[Cost], stock: Sequence[Cost],
            goal: results.Goal | None = None) -> list[results.Figure]:
    """Return the figures that a cost has; only time has a goal."""
    found = [results.Figure(name, 's', _each(ours, 'seconds'),
                            _each(stock, 'seconds'), goal)]
    for title, unit, field in (
            ('  processor', 's', 'processor'),
            ('  processes of the host', '', 'forks'),
            ('  commands', '', 'command_count'),
            ('  waited for locks', 's', 'lock_seconds')):
        found.append(results.Figure(title, unit, _each(ours, field),
                                    _each(stock, field)))
    return found


def _each(costs: Sequence[Cost], field: str) -> tuple[float, ...]:
    return tuple(float(getattr(each, field)) for each in costs)
