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

"""Base of the functional tests: one lab, booted once, serves them all."""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import os
import signal
import sys
import types
import typing
import unittest

from tests import lab
from tests.lab import errors

# Where to leave the hosts' logs at the end, if set.
_LOGS = 'VMTHUNDER_LAB_LOGS'

# Longest that one test, or the preparation of a class, may take, seconds.
_lab: lab.Lab | None = None

T = typing.TypeVar('T')


def together(*calls: typing.Callable[[], T]) -> list[T]:
    """Call functions at once; return what they return, in order."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call(), calls))


def get_lab() -> lab.Lab:
    """The process's lab, opened when first asked for.

    :raises SandboxError: outside the sandbox
    """
    global _lab
    if _lab is None:
        opened = lab.Lab().__enter__()
        atexit.register(_close, opened)
        _lab = opened
    return _lab


def get_host(spec: lab.HostSpec) -> lab.Host:
    """The lab's host of that name, started when first asked for, or again."""
    hosts = get_lab().hosts
    if spec.name not in hosts:
        return get_lab().start_many([spec])[0]
    host = hosts[spec.name]
    if not host.alive:
        host.power_on()
    return host


def _close(opened: lab.Lab) -> None:
    destination = os.environ.get(_LOGS)
    if destination:
        opened.collect_logs(destination)
    opened.close()


def _too_long(number: int, frame: types.FrameType | None) -> None:
    raise TimeoutError('This took longer than a test may.')


# Here, since only the main thread may, and some classes prepare in others.
signal.signal(signal.SIGALRM, _too_long)


# What a host's kernel said last, what its card has received and sent, and how
# its iSCSI connections stand.
_STATE = ("dmesg | tail -n 30; cut -d ' ' -f 1 /proc/uptime; "
          "grep vec0 /proc/net/dev; ss -tn | grep :3260")


def _show_hosts() -> None:
    """Show what may tell why a test failed, as its hosts are now."""
    for host in get_lab().hosts.values():
        with contextlib.suppress(errors.LabError, OSError):
            state = host.run(_STATE, shell=True, check=False).stdout
            print(f'==== {host.name}:\n{state}', file=sys.stderr)


class FunctionalTestCase(unittest.TestCase):
    """A test that runs on the lab's hosts."""

    lab: typing.ClassVar[lab.Lab]
    #: Seconds that a test may take, and the class' preparations, before it
    #: fails with a trace. What tests wait for has shorter limits; this one
    #: catches what has none.
    LIMIT: typing.ClassVar[int] = 1200

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        signal.alarm(cls.LIMIT)
        cls.lab = get_lab()

    def setUp(self) -> None:
        super().setUp()
        signal.alarm(self.LIMIT)

    def _callTestMethod(self, method: typing.Callable[[], None]) -> None:
        try:
            method()
        except unittest.SkipTest:
            raise
        except Exception:
            _show_hosts()
            raise
