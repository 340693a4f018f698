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

"""Real kernels as hosts on one machine, by User Mode Linux."""

import importlib
import typing

if typing.TYPE_CHECKING:
    from tests.lab.errors import CallExited
    from tests.lab.errors import CallKilled
    from tests.lab.errors import CommandFailed
    from tests.lab.errors import HostDown
    from tests.lab.errors import LabError
    from tests.lab.errors import RemoteError
    from tests.lab.errors import RequestTimeout
    from tests.lab.errors import SandboxError
    from tests.lab.host import Host
    from tests.lab.host import HostSpec
    from tests.lab.lab import Lab
    from tests.lab.network import Counters
    from tests.lab.protocol import Result

__all__ = ('CallExited', 'CallKilled', 'CommandFailed', 'Counters', 'Host',
           'HostDown', 'HostSpec', 'Lab', 'LabError', 'RemoteError',
           'RequestTimeout', 'Result', 'SandboxError')

_MODULES = {'Counters': 'network', 'Host': 'host', 'HostSpec': 'host',
            'Lab': 'lab', 'Result': 'protocol'}


def __getattr__(name: str) -> object:
    # Late, since hosts import parts of this package at every boot, and
    # "python -m tests.lab.sandbox" must not find itself imported.
    if name not in __all__:
        raise AttributeError(name)
    module = importlib.import_module(
        'tests.lab.' + _MODULES.get(name, 'errors'))
    return getattr(module, name)
