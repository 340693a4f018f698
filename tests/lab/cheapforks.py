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

"""Commands at the price of an exec, also from large processes.

oslo.concurrency starts every command with a preexec_fn, which only gives
SIGPIPE back its default as Python itself does. It makes Python copy the whole
process for each command: nothing on a real machine, half a second for a
process of 200 MB in a lab host.
"""

import functools
import subprocess
from typing import Any


def use() -> None:
    """Do without oslo.concurrency's own preexec_fn in this process."""
    from oslo_concurrency import processutils

    if getattr(subprocess.Popen, 'cheap', False):
        return

    class Popen(subprocess.Popen):

        cheap = True

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            given = kwargs.get('preexec_fn')
            if (isinstance(given, functools.partial) and
                    given.func is processutils._subprocess_setup and
                    given.args == (None,)):
                del kwargs['preexec_fn']
            super().__init__(*args, **kwargs)

    subprocess.Popen = Popen  # type: ignore[misc]
