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

"""Clocks as on a machine that stops for a moment now and then.

A test that is right only while the machine is fast fails once in a hundred
runs, and far from who wrote it. With these clocks it fails at once.
"""

import random
import time
from typing import Callable

# Hypothesis has the other generator say the same again for each example.
_CHANCE = random.SystemRandom()
_LEAST_SECONDS, _MOST_SECONDS = 0.2, 2.0

_leapt = 0.0


def use(share: float) -> None:
    """Have clocks leap.

    :param share: of looks at a clock, those that it leaps before.
    """
    def leaping(clock: Callable[[], float]) -> Callable[[], float]:
        def look() -> float:
            global _leapt
            if _CHANCE.random() < share:
                _leapt += _CHANCE.uniform(_LEAST_SECONDS, _MOST_SECONDS)
            return clock() + _leapt
        return look

    for name in 'time', 'monotonic', 'perf_counter':
        setattr(time, name, leaping(getattr(time, name)))
