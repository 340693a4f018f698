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


"""Logging in to the paths of a LUN.

Nothing here needs a lock, and none should be held while a path is waited
for: one slow or dead portal delays nobody but who needs it.
"""

import random
import time
from typing import Collection, Optional

from os_brick import executor as brick_executor
from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder import connection
from os_brick_vmthunder import nodes
from os_brick_vmthunder.privileged import blockdev
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

Lun = connection.Template | connection.Diff

#: How long the storage host may take to let this host in, in seconds.
ROOT_SECONDS = 20.0
#: How long its further portals are waited for when one has answered: until
#: iscsid has given them up, or a session might come after a quick detach.
OTHERS_SECONDS = 10.0
#: How often a path that doesn't answer is asked again; half as much again
#: by chance, so that hosts that started together don't ask together.
ASK_SECONDS = 1.0

_POLL_SECONDS = 0.1


class Logins:
    """Logs in to paths.

    :param executor: runs commands as root.
    """

    def __init__(self, executor: brick_executor.Executor) -> None:
        self._nodes = nodes.Nodes(executor)

    def reach(self, lun: Lun, patience: float = 0.0) -> None:
        """Log in to all paths of a LUN, as far as they answer.

        No lock need be held, and other processes may do it too. Whether it
        helped is seen by :meth:`answering`. What answers later than this
        waits joins the LUN's map by itself.

        :param patience: how many seconds to wait for the first of the
            relays among them, if there are any.
        """
        reaching = _Reaching(lun, patience)
        while not reaching.over():
            asked = reaching.unanswered()
            try:
                self._record(lun, [node for node in asked
                                   if reaching.is_first(node)])
                for node in asked:
                    self._nodes.log_in(node)
            except (processutils.ProcessExecutionError, OSError) as error:
                LOG.warning('Cannot ask for %(lun)s: %(error)s',
                            {'lun': lun.id, 'error': error})
            time.sleep(_POLL_SECONDS)

    def answering(self, lun: Lun) -> list[connection.Path]:
        """Return those paths of a LUN that this host is logged in to."""
        live = {session.node for session in nodes.sessions('')
                if session.live}
        return [path for path in lun.paths if nodes.Node.of(path) in live]

    def known(self, lun: Lun) -> bool:
        """Whether a path of a LUN was asked for and is not forgotten."""
        named = {nodes.Node.of(path) for path in lun.paths}
        return not named.isdisjoint(self._nodes.records(''))

    def forget_template(self, template_id: str) -> list[nodes.Node]:
        """Log out of a template and forget who served it.

        :returns: who did.
        :raises MultipathError: a session does not end.
        """
        return self._nodes.forget(nodes.template_target(template_id))

    def end_orphans(self, spared: Collection[str]) -> None:
        """End sessions that came after their template was forgotten.

        :param spared: ids of templates that are in use.
        """
        for session in self._nodes.orphans(spared):
            LOG.info('%s came too late', session)
            self._nodes.end(session)

    def missing(self, template_id: str) -> list[nodes.Node]:
        """Return the paths of a template that this host isn't logged in to.

        Only where an attach named them and no detach has ended it. Give
        them to :meth:`log_in`.
        """
        return self._nodes.missing(nodes.template_target(template_id))

    def log_in(self, node: nodes.Node) -> None:
        """Ask for a path that was named before; nothing is waited for."""
        self._nodes.log_in_again(node)

    def renew(self, node: nodes.Node) -> None:
        """End a path's session and ask for a new one."""
        if self._nodes.log_out([node]):
            self._nodes.log_in_again(node)

    def revive(self, template_id: str) -> list[str]:
        """Bring disks back that the kernel gave up while a path was away.

        :returns: the kernel's names of those disks.
        """
        revived = []
        for session in nodes.sessions(nodes.template_target(template_id)):
            for disk in session.disks if session.live else ():
                if sysfs.attribute(disk, 'device', 'state') == 'offline':
                    blockdev.set_running(disk)
                    revived.append(disk)
        return revived

    def _record(self, lun: Lun, first: list[nodes.Node]) -> None:
        """Have records by which paths can be logged in to."""
        if not first:
            return
        known = self._nodes.records('')
        relays = {path.iqn for path in lun.paths if path.relay}
        for iqn in dict.fromkeys(node.iqn for node in first):
            portals = [node for node in first if node.iqn == iqn]
            try:
                self._nodes.record(portals, known, lun.chap,
                                   nodes.RELAY_SETTINGS if iqn in relays
                                   else nodes.SETTINGS)
            except processutils.ProcessExecutionError as error:
                LOG.warning('Cannot ask for %(portals)s: %(error)s',
                            {'portals': portals, 'error': error})


def broken(lun: Lun) -> bool:
    """Tell whether a session of a LUN is there that does not work."""
    named = {nodes.Node.of(path) for path in lun.paths}
    return any(session.node in named and not session.live
               for session in nodes.sessions(''))


class _Reaching:
    """When to ask whom again, and when to stop."""

    def __init__(self, lun: Lun, patience: float) -> None:
        self._nodes = {nodes.Node.of(path): path for path in lun.paths}
        self._parents = {node for node, path in self._nodes.items()
                         if path.relay}
        self._roots = set(self._nodes) - self._parents
        self._patience = patience if self._parents else 0.0
        self._start = time.monotonic()
        self._root_answered: Optional[float] = None
        self._asked: dict[nodes.Node, int] = {}
        self._due: dict[nodes.Node, float] = {}

    def unanswered(self) -> list[nodes.Node]:
        """Return those to ask now."""
        now = time.monotonic()
        known = {session.node for session in nodes.sessions('')}
        due = [node for node in self._nodes
               if node not in known and now >= self._due.get(node, now)]
        if self._root_answered is not None:  # one of its portals is enough
            due = [node for node in due
                   if node not in self._roots or node not in self._asked]
        for node in due:
            self._due[node] = now + ASK_SECONDS * random.uniform(1.0, 1.5)
            self._asked[node] = self._asked.get(node, 0) + 1
        return due

    def is_first(self, node: nodes.Node) -> bool:
        """Whether one that is to be asked never was before."""
        return self._asked[node] == 1

    def over(self) -> bool:
        """Whether all has answered that is worth waiting for."""
        live = {session.node for session in nodes.sessions('')
                if session.live}
        if live.issuperset(self._nodes):
            return True
        if not self._asked:
            return False
        now = time.monotonic()
        if self._root_answered is None and self._roots & live:
            self._root_answered = now
        if not self._parents & live and now < self._start + self._patience:
            return False
        if self._roots <= live:
            return True
        if self._root_answered is not None:
            return now >= self._root_answered + OTHERS_SECONDS
        return now >= self._start + ROOT_SECONDS
