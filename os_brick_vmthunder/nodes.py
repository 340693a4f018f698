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


"""iSCSI sessions and node records of this host.

Logging in takes as long as the other side likes. So nobody waits in a
process or under a lock here: iscsid is asked, and sysfs tells what came of
it. Asking again while iscsid still tries changes nothing.
"""

import dataclasses
import glob
import os
import re
import time
from typing import Collection, Iterable, Mapping

from os_brick import executor as brick_executor
from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

_SESSIONS = '/sys/class/iscsi_session'
_CONNECTIONS = '/sys/class/iscsi_connection'
_LOGGED_IN = 'LOGGED_IN'
# iscsiadm's exit statuses
_NO_RECORDS, _SESSION_EXISTS = 21, 15
_LOGOUT_SECONDS = 30.0
_ATTEMPTS = 3
_TEMPLATE = re.compile(r':template-([0-9a-f-]{36})(?::|$)')

#: For every path. Nobody waits two minutes for a dead portal, and after a
#: reboot nobody but who attaches volumes logs in: secrets change.
SETTINGS = {'node.startup': 'manual',
            'node.session.scan': 'auto',
            'node.session.initial_login_retry_max': '1',
            'node.conn[0].timeo.login_timeout': '8'}

#: For paths to relays: one in trouble has to look dead soon, since there is
#: always another path.
RELAY_SETTINGS = SETTINGS | {
    'node.conn[0].timeo.login_timeout': '5',
    'node.conn[0].timeo.logout_timeout': '5',
    'node.conn[0].timeo.noop_out_interval': '2',
    'node.conn[0].timeo.noop_out_timeout': '2',
    'node.session.timeo.replacement_timeout': '2',
    'node.session.err_timeo.abort_timeout': '2',
    'node.session.err_timeo.lu_reset_timeout': '2',
    'node.session.err_timeo.tgt_reset_timeout': '2'}


@dataclasses.dataclass(frozen=True)
class Node:
    """A target's portal."""

    portal: str
    iqn: str

    @classmethod
    def of(cls, path: connection.Path) -> 'Node':
        return cls(path.portal.lower(), path.iqn)


@dataclasses.dataclass(frozen=True)
class Session:
    """What the kernel knows of a session.

    :ivar id: the kernel's number of it.
    :ivar live: it is logged in; else iscsid tries to bring it back.
    """

    id: str
    node: Node
    live: bool

    @property
    def disks(self) -> list[str]:
        """The kernel's names of its disks, as 'sda'."""
        return sorted(map(os.path.basename, glob.glob(
            f'{_SESSIONS}/session{self.id}/device/target*/*/block/*')))


def template_target(template_id: str) -> str:
    """Return what the names of a template's targets have in them.

    The root's ends with it, a relay's goes on with a colon.
    """
    return f'template-{template_id}'


def sessions(target: str) -> list[Session]:
    """Return this host's sessions.

    :param target: what is in the target's name.
    """
    found = []
    for name in sorted(_listing(_SESSIONS)):
        number = name.removeprefix('session')
        iqn = sysfs.read(f'{_SESSIONS}/{name}/targetname') or ''
        if target not in iqn:
            continue
        there = f'{_CONNECTIONS}/connection{number}:0/persistent'
        address = sysfs.read(f'{there}_address')
        port = sysfs.read(f'{there}_port')
        if not address or not port:
            continue  # it is just coming or going
        state = sysfs.read(f'{_SESSIONS}/{name}/state')
        found.append(Session(number, Node(_portal(address, port), iqn),
                             state == _LOGGED_IN))
    return found


class Nodes:
    """iscsid's records, and what it is asked for.

    :param executor: runs commands as root.
    """

    def __init__(self, executor: brick_executor.Executor) -> None:
        self._executor = executor

    def records(self, target: str) -> list[Node]:
        """Return the records of this host, with a session or without.

        :param target: what is in the target's name.
        """
        found = []
        output = self._iscsiadm('node', missing=True)
        for line in output.splitlines():
            portal, _comma, rest = line.partition(',')
            iqn = rest.partition(' ')[2].strip()
            if iqn and target in iqn:
                found.append(Node(portal.lower(), iqn))
        return found

    def record(self, wanted: Collection[Node], known: Collection[Node],
               chap: connection.Chap, settings: Mapping[str, str]) -> None:
        """Make records, or correct them.

        :param wanted: portals of one target.
        :param known: those with a record. It isn't made from nothing: who
            logs in by it meanwhile would do so without a secret.
        :raises ProcessExecutionError: iscsiadm failed.
        """
        values = dict(settings) | {
            'node.session.auth.authmethod': 'CHAP',
            'node.session.auth.username': chap.username,
            'node.session.auth.password': chap.password}
        for node in wanted:
            if node not in known:
                self._make(node)
        for iqn in {node.iqn for node in wanted}:
            self._iscsiadm('node', '-T', iqn, '--op', 'update',
                           *(word for name, value in values.items()
                             for word in ('-n', name, '-v', value)))

    def missing(self, target: str) -> list[Node]:
        """Return those with a record and without a session."""
        there = {session.node for session in sessions(target)}
        return [node for node in self.records(target) if node not in there]

    def log_in(self, node: Node) -> None:
        """Ask iscsid to log in by a record."""
        self._ask(node, '--login')

    def log_in_again(self, node: Node) -> None:
        """Ask iscsid to log in by a record that os-brick has used since."""
        try:
            # os-brick turned that off: it scans for disks itself
            self._iscsiadm('node', '-T', node.iqn, '-p', node.portal,
                           '--op', 'update', '-n', 'node.session.scan',
                           '-v', SETTINGS['node.session.scan'])
        except processutils.ProcessExecutionError as error:
            LOG.debug('%(node)s: %(error)s', {'node': node, 'error': error})
        self.log_in(node)

    def log_out(self, nodes: Iterable[Node]) -> bool:
        """End sessions; their records stay.

        :returns: whether all are gone.
        """
        left = set(nodes)
        for node in left:
            self._ask(node, '--logout')
        return sysfs.wait(
            lambda: not any(session.node in left for session in sessions('')),
            _LOGOUT_SECONDS)

    def forget(self, target: str) -> list[Node]:
        """End all sessions of a target and delete its records.

        :param target: what is in the target's name.
        :returns: what was forgotten.
        :raises MultipathError: a session does not end.
        """
        known = set(self.records(target))
        for _attempt in range(_ATTEMPTS):
            for session in sessions(target):
                if session.node not in known:
                    self.end(session)
            if self.log_out(session.node for session in sessions(target)):
                if self._delete(known):
                    return sorted(known, key=dataclasses.astuple)
                time.sleep(1)  # iscsid was just logging in
        raise exception.MultipathError(what=target, reason=_(
            'iscsid does not end its sessions; see its log.'))

    def orphans(self, spared: Collection[str]) -> list[Session]:
        """Return the sessions of templates that have no record.

        :param spared: ids of templates that aren't looked at.
        """
        found = []
        for session in sessions(template_target('')):
            match = _TEMPLATE.search(session.node.iqn)
            if match and match[1] not in spared:
                found.append(session)
        known = self.records('') if found else ()
        return [session for session in found if session.node not in known]

    def end(self, session: Session) -> None:
        """End a session that has no record."""
        self._iscsiadm('session', '-r', session.id, '-u', missing=True)

    def _make(self, node: Node) -> None:
        """Make a record that has nothing yet but its name."""
        try:
            self._iscsiadm('node', '-T', node.iqn, '-p', node.portal,
                           '--op', 'new')
        except processutils.ProcessExecutionError as error:
            # somebody else made it and has logged in; it is set right all
            # the same, and so are the target's others
            LOG.debug('%(node)s: %(error)s', {'node': node, 'error': error})

    def _delete(self, known: Iterable[Node]) -> bool:
        """Delete records; return whether no session was in the way."""
        for iqn in sorted({node.iqn for node in known}):
            try:
                self._iscsiadm('node', '-T', iqn, '--op', 'delete',
                               missing=True)
            except processutils.ProcessExecutionError as error:
                if error.exit_code != _SESSION_EXISTS:
                    raise
                return False
        return True

    def _ask(self, node: Node, what: str) -> None:
        try:
            self._iscsiadm('node', '-T', node.iqn, '-p', node.portal, what,
                           '--no_wait')
        except processutils.ProcessExecutionError as error:
            # mostly that it is so already; sysfs tells
            LOG.debug('iscsiadm %(what)s %(node)s: %(error)s', {
                'what': what, 'node': node, 'error': error.stderr})

    def _iscsiadm(self, mode: str, *words: str,
                  missing: bool = False) -> str:
        """:param missing: it is all right if there is no such record."""
        output, _errors = self._executor._execute(
            'iscsiadm', '-m', mode, *words, run_as_root=True,
            root_helper=self._executor._root_helper,
            check_exit_code=[0, _NO_RECORDS] if missing else [0])
        return str(output)


def _portal(address: str, port: str) -> str:
    return (f'[{address}]:{port}' if ':' in address
            else f'{address}:{port}').lower()


def _listing(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
