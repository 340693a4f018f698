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

import collections
import importlib
import pkgutil

import testtools

from tests import functional
from tests import lab


class HostsTestCase(testtools.TestCase):

    def test_no_two_share_a_name_or_an_address(self):
        # Which modules share a lab is for the suites to say. Only those
        # that need Nova always have one of their own.
        named: dict[str, list[lab.HostSpec]] = collections.defaultdict(list)
        placed: dict[int, list[lab.HostSpec]] = collections.defaultdict(list)
        for spec in _specs():
            named[spec.name].append(spec)
            for address in (spec.address, *spec.extra_addresses):
                placed[address].append(spec)
        self.assertEqual([], _clashes(named))
        self.assertEqual([], _clashes(placed))


def _specs() -> list[lab.HostSpec]:
    found: list[lab.HostSpec] = []
    for module in pkgutil.iter_modules(functional.__path__,
                                       f'{functional.__name__}.'):
        if 'nova' in module.name:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, lab.HostSpec) and each not in found:
                    found.append(each)
    return found


def _clashes(specs):
    return [hosts for hosts in specs.values() if len(hosts) > 1]
