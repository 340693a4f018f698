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

"""A host's agent: makes up sooner for what fails.

All works without it, only slower. It knows nothing but what the system tells
and may be started or killed at any time.
"""

import random
import threading
import time
from typing import Callable

from oslo_log import log as logging

from os_brick_vmthunder import agentexport
from os_brick_vmthunder import agentprefetch
from os_brick_vmthunder import agentrecorder
from os_brick_vmthunder import agentupstream
from os_brick_vmthunder.caches import base as caches
from os_brick_vmthunder import conf
from os_brick_vmthunder import linger
from os_brick_vmthunder import logins
from os_brick_vmthunder import nodes
from os_brick_vmthunder import paths as lun_paths
from os_brick_vmthunder.privileged import blockdev
from os_brick_vmthunder.privileged import lio
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

_EXPORT_SECONDS = 1.0
_PATHS_SECONDS = 5.0
_SWEEP_SECONDS = 30.0
_RECORD_SECONDS = 0.5
_PREFETCH_SECONDS = 0.25

#: How soon a path that didn't answer is asked again, at first and at last.
#: Half as much again by chance: the children of one parent don't all come
#: at once.
FIRST_SECONDS, LAST_SECONDS = 4.0, 30.0


class Reconnecting:
    """Asks for paths that were named and have no session.

    iscsid itself brings sessions back that were there once, but not those
    of a parent that didn't serve yet when it was first asked.
    """

    def __init__(self, known: logins.Logins,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._logins = known
        self._clock = clock
        self._due: dict[nodes.Node, float] = {}
        self._pause: dict[nodes.Node, float] = {}

    def look(self) -> None:
        """Ask for those whose time has come."""
        here = [nodes.template_target(template_id)
                for template_id, _cached in agentupstream.templates()]
        missing = {node for node in self._logins.missing('') if any(
            target in node.iqn for target in here)} if here else set()
        for node in set(self._due) - missing:
            del self._due[node], self._pause[node]
        now = self._clock()
        for node in missing:
            if now >= self._due.get(node, 0.0):
                self._ask(node, now)

    def _ask(self, node: nodes.Node, now: float) -> None:
        pause = self._pause.get(node, FIRST_SECONDS)
        self._due[node] = now + pause * random.uniform(1.0, 1.5)
        self._pause[node] = min(pause * 2, LAST_SECONDS)
        self._logins.log_in(node)


def revive() -> None:
    """Bring our disks back that the kernel gave up.

    It does while a path is in trouble; nobody undoes it if the path comes
    back before the kernel has finished.
    """
    for session in nodes.sessions(''):
        for disk in session.disks if session.live else ():
            if (sysfs.attribute(disk, 'device', 'state') == 'offline' and
                    sysfs.attribute(disk, 'device', 'vendor') == lio.VENDOR):
                LOG.info('Disk %(disk)s of %(node)s is tried again',
                         {'disk': disk, 'node': session.node})
                blockdev.set_running(disk)


class Agent:
    """Does what there is to do, each at its own pace.

    :param paths: of this host.
    :param known: asks for paths.
    :param cache: of this host.
    :param config: of this host.
    """

    def __init__(self, paths: lun_paths.Paths, known: logins.Logins,
                 cache: caches.Cache, config: conf.HostConfig) -> None:
        self._paths = paths
        self._cache = cache
        self._config = config
        self._gate = agentexport.Gate()
        self._reconnecting = Reconnecting(known)
        self._recorder = agentrecorder.Recorder()
        self._prefetcher = agentprefetch.Prefetcher(cache, config.prefetch)
        self._stop = threading.Event()

    def run(self) -> None:
        """Work until :meth:`stop`.

        Commands may take their time, and a watch over others' reads can't
        wait for that; hence a thread for each.
        """
        LOG.info('The agent of this host runs')
        tasks = [(self._reconnect, _PATHS_SECONDS),
                 (self._sweep, _SWEEP_SECONDS)]
        if self._config.prefetch != conf.PREFETCH_OFF:
            tasks += [(self._recorder.look, _RECORD_SECONDS),
                      (self._prefetcher.look, _PREFETCH_SECONDS)]
        for task, seconds in tasks:
            threading.Thread(target=self._repeat, args=(task, seconds),
                             daemon=True).start()
        self._repeat(self._gate.look, _EXPORT_SECONDS)

    def stop(self) -> None:
        self._stop.set()

    def _repeat(self, task: Callable[[], None], seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                task()
            except Exception:  # the next time may be better
                LOG.exception('The agent will try again')

    def _reconnect(self) -> None:
        revive()
        self._reconnecting.look()

    def _sweep(self) -> None:
        # The children of a relay that stalls can't be seen, and to end its
        # export would wait for its upstream.
        if not self._gate.stalled:
            linger.sweep(self._paths, self._cache, self._config)
