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

"""Attaching to an idle host, beside os-brick's own iSCSI connector.

Both have the same two portals and make a multipath map. What is first is a
template that the host never saw; the host relays it, as by default.
"""

import contextlib
import dataclasses

from tests.bench import cost
from tests.bench import results
from tests.bench import rig as rigs

_OURS, _STOCK = 'vmthunder', 'iscsi'


@dataclasses.dataclass
class _Costs:
    """Of each round."""

    first: list[cost.Cost] = dataclasses.field(default_factory=list)
    next: list[cost.Cost] = dataclasses.field(default_factory=list)
    plain: list[cost.Cost] = dataclasses.field(default_factory=list)
    detach: list[cost.Cost] = dataclasses.field(default_factory=list)
    detach_last: list[cost.Cost] = dataclasses.field(default_factory=list)
    detach_plain: list[cost.Cost] = dataclasses.field(default_factory=list)


def run(rounds: int) -> list[results.Figure]:
    """Attach and detach volumes and plain LUNs by turns."""
    rig = rigs.get()
    _round(rig, _Costs())  # makes the host's cache, once for all
    costs = _Costs()
    for _number in range(rounds):
        _round(rig, costs)
    rig.check_clean()
    return _figures(costs)


def _round(rig: rigs.Rig, costs: _Costs) -> None:
    with contextlib.ExitStack() as stack:
        template = stack.enter_context(rig.template())
        first, second = (stack.enter_context(rig.volume(template))
                         for _number in range(2))
        plain, other = (stack.enter_context(rig.plain())
                        for _number in range(2))
        costs.first.append(rig.attach(_OURS, first))
        costs.plain.append(rig.attach(_STOCK, plain))
        costs.next.append(rig.attach(_OURS, second))
        costs.plain.append(rig.attach(_STOCK, other))
        costs.detach.append(rig.detach(_OURS, second))
        costs.detach_plain.append(rig.detach(_STOCK, other))
        costs.detach_last.append(rig.detach(_OURS, first))
        costs.detach_plain.append(rig.detach(_STOCK, plain))


def _figures(costs: _Costs) -> list[results.Figure]:
    return [
        *cost.figures('attach a first volume', costs.first, costs.plain,
                      results.at_most(1.5)),
        *cost.figures('attach a next volume', costs.next, costs.plain,
                      results.at_most(1.1)),
        *cost.figures('detach a volume', costs.detach, costs.detach_plain),
        *cost.figures('detach the last volume', costs.detach_last,
                      costs.detach_plain)]
