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

"""A server's own word, waited for on its console."""

import time
from typing import Callable

from tests.lab.controlplane import servers as servers_module
from tests.lab import guestlog

# Nobody has hardware virtualization here: QEMU translates.
TIMEOUT = 600
# Each look costs the host, which is busy, some tenths of a second.
_INTERVAL = 3


class GuestFailed(Exception):
    """A server doesn't say what the image's machines say."""


def wait(servers: servers_module.Servers, server_id: str,
         enough: Callable[[guestlog.Guest], bool],
         timeout: float = TIMEOUT) -> guestlog.Guest:
    """Return what a server says of itself, as soon as that is enough.

    :raises GuestFailed: it isn't in that time; with its console's end.
    """
    deadline = time.monotonic() + timeout
    while True:
        console = servers.console(server_id)
        guest = guestlog.read(console)
        if enough(guest):
            return guest
        if time.monotonic() > deadline:
            tail = '\n'.join(console.replace('\r', '').splitlines()[-20:])
            raise GuestFailed(
                f'server {server_id} said too little in {timeout:.0f} s '
                f'({guest}). The end of its console:\n{tail}')
        time.sleep(_INTERVAL)
