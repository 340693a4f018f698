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

"""LVM's reports, without a process or two to become root for each.

sudo and rootwrap take ten times as long as a report does. What changes
something isn't run here: it may take long, and there are as many threads as
processors for all that needs root.
"""

import os
from typing import Mapping

from oslo_concurrency import processutils

from os_brick_vmthunder import privileged


@privileged.default.entrypoint
def lvs(environment: Mapping[str, str],
        *arguments: str) -> tuple[str, str]:
    """Run the command of that name; return its output.

    :param environment: what to add to it.
    :raises ProcessExecutionError: it failed.
    """
    return processutils.execute(
        'lvs', *arguments, env_variables={**os.environ, **environment})
