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

"""Whether what only root may load or run is there."""

import shutil

from oslo_concurrency import processutils

from os_brick_vmthunder import privileged


@privileged.default.entrypoint
def load_module(name: str) -> None:
    """Load a module of the kernel.

    :raises ProcessExecutionError: the kernel hasn't got it.
    """
    processutils.execute('modprobe', name)


@privileged.default.entrypoint
def has_program(name: str) -> bool:
    """Tell whether a program is there for root to run."""
    return shutil.which(name) is not None
