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

"""LVM's commands, one process each."""

from oslo_concurrency import processutils

from os_brick_vmthunder import privileged

_COMMANDS = ('lvchange', 'lvcreate', 'lvremove', 'lvs', 'pvs', 'vgcreate',
             'vgremove', 'vgs')


@privileged.default.entrypoint
def run(command: str, *arguments: str) -> str:
    """Run a command of LVM; return its output.

    :raises ProcessExecutionError: it failed.
    """
    if command not in _COMMANDS:
        raise ValueError(f'{command} is not needed for caches')
    return processutils.execute(command, *arguments)[0]
