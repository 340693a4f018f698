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

"""A virtual machine on a lab host, from power-on to power-off."""

import time

from demo import results
from tests import lab

MEMORY = 256
TIMEOUT = 300

_BEGIN, _END = '=== diary begins', '=== diary ends, userland '


class VMFailed(Exception):
    """The VM did not do what the image's machines do."""


def run(host: lab.Host, device: str, name: str) -> results.Boot:
    """Boot a VM from a block device, as Nova would, and let it live.

    There is no hardware virtualization in a lab host: QEMU translates.

    :param device: on the host; the VM's only disk, cached by nobody
    :param name: what the VM learns to be its serial number
    :raises VMFailed: the VM didn't show its diary
    :raises lab.LabError: QEMU failed or was not done in time
    """
    began = time.monotonic()
    result = host.run(
        'qemu-system-x86_64', '-machine', 'pc', '-accel', 'tcg,tb-size=64',
        '-m', str(MEMORY), '-nodefaults', '-no-reboot', '-display', 'none',
        '-serial', 'stdio', '-smbios', f'type=1,serial={name}', '-drive',
        f'file={device},format=raw,if=virtio,cache=none,discard=unmap',
        timeout=TIMEOUT)
    seconds = time.monotonic() - began
    diary, intact = parse(name, result.stdout)
    return results.Boot(seconds, diary, intact)


def parse(name: str, console: str) -> tuple[tuple[str, ...], bool]:
    """Find the diary in what a VM printed on its serial console.

    :returns: its lines, and whether the userland was found intact
    :raises VMFailed: there is none
    """
    lines = [line.rstrip('\r') for line in console.split('\n')]
    begin = end = None
    for number, line in enumerate(lines):
        # The firmware's control characters may stand before the first line.
        if line.endswith(_BEGIN):
            begin = number
        elif begin is not None and line.startswith(_END):
            end = number
            break
    if begin is None or end is None:
        tail = '\n'.join(lines[-20:])
        raise VMFailed(f'{name} ended without showing its diary. The end of '
                       f'its console:\n{tail}')
    return (tuple(lines[begin + 1:end]),
            lines[end].removeprefix(_END) == 'intact')
