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

"""Many volumes of one image that a host attaches at once.

As in nova-compute, in one process with a thread for each; beside as many
LUNs by os-brick's own iSCSI connector. Once, since it takes its time.
"""

import concurrent.futures
import contextlib
import dataclasses
import os
from typing import Any, Callable, Sequence

from tests.bench import cost
from tests.bench import results
from tests.bench import rig as rigs
from tests.lab import brick

#: How many volumes.
COUNT = int(os.environ.get('VMTHUNDER_BENCH_COUNT', 50))
_TIMEOUT = 3000


def run(rounds: int) -> list[results.Figure]:
    """Attach all, ours and then stock; detach them at once, too."""
    rig = rigs.get()
    rig.host.preload('tests.bench.atonce')
    with rig.template() as template:
        ours = _attach_and_detach(
            rig, 'vmthunder', lambda: rig.volume(template))
    stock = _attach_and_detach(rig, 'iscsi', rig.plain)
    asked = (float(COUNT),)
    return [
        results.Figure(f'of {COUNT} at once, attached', '',
                       (float(ours.attached),), asked, results.at_least(1)),
        results.Figure(f'of {COUNT} at once, attached by stock', '',
                       (float(stock.attached),), asked),
        *cost.figures(f'attach {COUNT} at once', [ours.attach],
                      [stock.attach]),
        *cost.figures(f'detach {COUNT} at once', [ours.detach],
                      [stock.detach])]


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """What came of all of a kind.

    :ivar attached: how many could be attached.
    """

    attached: int
    attach: cost.Cost
    detach: cost.Cost


def _attach_and_detach(
        rig: rigs.Rig, protocol: str,
        make: Callable[[], contextlib.AbstractContextManager[dict[str, Any]]]
) -> _Outcome:
    with contextlib.ExitStack() as stack:
        there = [stack.enter_context(make()) for _number in range(COUNT)]
        attach, failures = rig.host.call(attach_here, protocol, there,
                                         timeout=_TIMEOUT)
        print(f'{protocol}: {COUNT - len(failures)} of {COUNT} attached in '
              f'{attach.seconds:.1f} s', flush=True)
        detach, left = rig.host.call(detach_here, protocol, there,
                                     timeout=_TIMEOUT)
    for failure in failures + left:
        print(failure)
    rig.check_clean()
    return _Outcome(COUNT - len(failures), attach, detach)


def attach_here(protocol: str, there: Sequence[dict[str, Any]]
                ) -> tuple[cost.Cost, list[str]]:
    connector = brick.connector(protocol, True)
    return _together(there, connector.connect_volume)


def detach_here(protocol: str, there: Sequence[dict[str, Any]]
                ) -> tuple[cost.Cost, list[str]]:
    connector = brick.connector(protocol, True)
    return _together(there, lambda data: connector.disconnect_volume(
        data, rigs.device_info(data)))


def _together(there: Sequence[dict[str, Any]], do: Callable[..., Any]
              ) -> tuple[cost.Cost, list[str]]:
    """Do something with all at once; return what failed, too."""
    failures = []

    def guarded(data: dict[str, Any]) -> None:
        try:
            do(data)
        except Exception as error:
            failures.append(f'{data["volume_id"]}: {error!r}')

    def all_at_once() -> None:
        with concurrent.futures.ThreadPoolExecutor(len(there)) as pool:
            list(pool.map(guarded, there))

    return cost.of(all_at_once), failures
