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

"""The lab's two networks, and each host's links to them.

Both are bridges on the machine: *data*, which tests cut, shape and count,
and *management*, which carries the lab's own requests and is left alone.
"""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import typing

MACHINE_DATA = '10.77.0.1'
MACHINE_MANAGEMENT = '10.78.0.1'
DATA_NETWORK = '10.77.0.0/24'

_DATA_BRIDGE = 'lab-data'
_MANAGEMENT_BRIDGE = 'lab-mgmt'

# States of a bridge port, as the kernel counts them.
_DISABLED, _FORWARDING = 0, 3


@dataclasses.dataclass(frozen=True)
class Counters:
    """Bytes that passed a host's data link, as the host sees it."""

    rx_bytes: int
    tx_bytes: int

    def __sub__(self, other: Counters) -> Counters:
        return Counters(self.rx_bytes - other.rx_bytes,
                        self.tx_bytes - other.tx_bytes)


def data_address(number: int) -> str:
    """The address on the data network of host ``number`` (2 to 254)."""
    return '10.77.0.%d' % number


def management_address(number: int) -> str:
    """The address on the management network of host ``number``."""
    return '10.78.0.%d' % number


def create_bridges() -> None:
    """Bring up loopback and both bridges in a new network namespace."""
    _ip('link set lo up')
    for bridge, address in ((_DATA_BRIDGE, MACHINE_DATA),
                            (_MANAGEMENT_BRIDGE, MACHINE_MANAGEMENT)):
        _ip('link add %s type bridge forward_delay 0 stp_state 0' % bridge,
            'addr add %s/24 dev %s' % (address, bridge),
            'link set %s up' % bridge)


class Link:
    """A host's data network card, from the outside; survives reboots."""

    def __init__(self, number: int,
                 in_host: typing.Callable[..., object]) -> None:
        """:param in_host: runs a command (its words) in the host"""
        self.tap = 'data%d' % number
        self.management_tap = 'mgmt%d' % number
        self._number = number
        self._in_host = in_host
        self._mbit: float | None = None

    def create(self) -> None:
        """Make both taps, join them to their bridges."""
        for tap, bridge in ((self.tap, _DATA_BRIDGE),
                            (self.management_tap, _MANAGEMENT_BRIDGE)):
            _ip('tuntap add %s mode tap' % tap,
                'link set %s master %s up' % (tap, bridge))

    def remove(self) -> None:
        """Take both taps away, if they are there."""
        for tap in (self.tap, self.management_tap):
            remove_tap(tap)

    def kernel_arguments(self) -> list[str]:
        """What tells the host's kernel of its two cards."""
        form = ('vec%d:transport=tap,ifname=%s,depth=128,gro=1,'
                'mac=52:54:00:%02x:00:%02x')
        return [form % (0, self.tap, 77, self._number),
                form % (1, self.management_tap, 78, self._number)]

    def cut(self) -> None:
        """Let nothing pass, in either direction; the host's card is up."""
        self._set_state(_DISABLED)

    def restore(self) -> None:
        """Undo `cut`."""
        self._set_state(_FORWARDING)

    def shape(self, mbit: float | None) -> None:
        """Limit each direction to ``mbit`` Mbit/s, or not at all by None.

        The limit stays over the host's reboots.
        """
        self._mbit = mbit
        _run(*_shaping(self.tap, mbit))
        self.shape_in_host()

    def shape_in_host(self, after_boot: bool = False) -> None:
        """Limit what the host sends, which only its own kernel can."""
        if self._mbit is not None or not after_boot:
            self._in_host(*_shaping('vec0', self._mbit))

    def counters(self) -> Counters:
        """Bytes received and sent by the host since it was first started."""
        statistics = _attributes(self.tap) / 'statistics'
        return Counters(
            rx_bytes=int((statistics / 'tx_bytes').read_text()),
            tx_bytes=int((statistics / 'rx_bytes').read_text()))

    def _set_state(self, state: int) -> None:
        _run('bridge', 'link', 'set', 'dev', self.tap, 'state', str(state))


def remove_tap(tap: str) -> None:
    """Take a tap away, if it is there."""
    if _attributes(tap).exists():
        _ip('link del %s' % tap)


def _shaping(device: str, mbit: float | None) -> list[str]:
    if mbit is None:
        # Replacing by the default fails never, deleting nothing would.
        return ['tc', 'qdisc', 'replace', 'dev', device, 'root',
                'pfifo_fast']
    rate = int(mbit * 1e6)
    # Enough for two of the largest packets, or 5 ms at that rate.
    burst = max(2 * 65536, rate // 8 // 200)
    return ['tc', 'qdisc', 'replace', 'dev', device, 'root', 'tbf',
            'rate', '%dbit' % rate, 'burst', str(burst), 'latency', '50ms']


def _attributes(device: str) -> pathlib.Path:
    return pathlib.Path('/sys/class/net', device)


def _ip(*lines: str) -> None:
    _run('ip', '-batch', '-', stdin='\n'.join(lines) + '\n')


def _run(*command: str, stdin: str = '') -> None:
    subprocess.run(command, check=True, input=stdin, text=True)
