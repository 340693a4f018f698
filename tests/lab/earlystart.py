# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Import a program before what it needs is there, run it when it is.

Importing takes a big service ten seconds in a lab host, time in which the
machine starts what the service needs.

usage: python -m tests.lab.earlystart MODULE FILE [ARGUMENT]...

Imports MODULE, waits until FILE exists, and calls MODULE.main() with the
arguments in sys.argv.
"""

import importlib
import os
import sys
import time

from tests.lab import cheapforks


def main(module: str, file: str, *arguments: str) -> int | str | None:
    """Do what this module's description says."""
    program = importlib.import_module(module)
    cheapforks.use()
    while not os.path.exists(file):
        time.sleep(0.1)
    sys.argv = [module, *arguments]
    status: int | str | None = program.main()
    return status


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
