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


"""Multipath maps over the iSCSI paths of a LUN.

Every scan and multipath step is os-brick's own iSCSI connector's; this
module checks what came out of it before anything is built on it. Logging in
comes before, see :mod:`.logins`, since os-brick would do it under a lock that
all attaches of a host queue on.
"""

import contextlib
import os
from typing import Any, Collection, Iterator, Optional, Sequence

from os_brick import exception as brick_exception
from os_brick.initiator.connectors import iscsi
from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder import locks
from os_brick_vmthunder import logins
from os_brick_vmthunder.privileged import blockdev
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

_DROP_IN = '/etc/multipath/conf.d/vmthunder.conf'
# How long multipathd may take to make a map by itself, in seconds.
_OWN_SECONDS = 2.0
# How long multipathd may give a map its old size back, when a path changes
# just while it gets a new one, in seconds.
_LENGTHEN_SECONDS = 5.0


class Paths:
    """Connects LUNs and finds the maps over their paths."""

    def __init__(self, initiator: iscsi.ISCSIConnector,
                 root_helper: str) -> None:
        self._iscsi = initiator
        self._root_helper = root_helper
        self._logins = logins.Logins(initiator)

    def verify(self) -> None:
        """Check that maps can be made here at all.

        :raises ConfigurationError: multipathd isn't running.
        """
        if not self._iscsi._linuxscsi.is_multipath_running(
                self._root_helper, execute=self._iscsi._execute):
            raise exception.ConfigurationError(reason=_(
                'multipathd does not answer; start it (systemctl enable '
                '--now multipathd).'))

    def reach(self, lun: logins.Lun, patience: float = 0.0) -> None:
        """Log in to the paths of a LUN: see :meth:`.Logins.reach`."""
        self._logins.reach(lun, patience)

    def connect(self, lun: logins.Lun) -> str:
        """Make the map over those paths of a LUN that answer.

        :returns: device of its multipath map.
        :raises MultipathError: no path answered, or the map is not the one
            that may carry a guest's data.
        """
        device = find(lun.id)
        if device is None or not running(lun.id):
            device = self._make(lun)
        self._check(lun, device)
        return device

    def resize(self, diff: connection.Diff) -> str:
        """See how large a diff is now, while it is used.

        Not os-brick's way: it has multipathd resize the map, and a map does
        not queue while multipathd does so. One request that finds no path
        just then would destroy the volume.

        :returns: device of its multipath map.
        :raises MultipathError: not all paths answer; or there is no map.
        """
        device = find(diff.id)
        if device is None:
            raise exception.MultipathError(what=_describe(diff), reason=_(
                'there is no map; is the volume attached?'))
        with _translated(_describe(diff)):
            size = self._ask_size(diff, device)
            if not sysfs.wait(lambda: self._lengthen(device, size),
                              _LENGTHEN_SECONDS):
                raise exception.MultipathError(what=_describe(diff), reason=_(
                    'multipathd changes the map all the time; see its log, '
                    'and extend the volume again.'))
            # or a later event might have it take the size back
            self._iscsi._linuxscsi.multipath_reconfigure()
        return device

    def disconnect(self, diff: connection.Diff, force: bool = False) -> None:
        """Log out of all paths of a diff and remove its map.

        Nothing may stand on the map any more. If no path is left, what was
        still queued in the map fails: only teardown may do that.

        :raises MultipathError: the map or a session does not go.
        """
        device = self.stop_queueing(diff.id)
        with _translated(_describe(diff)):
            self._iscsi.disconnect_volume(
                _properties(diff, diff.paths),
                {'type': 'block', 'path': device or ''}, force=force)
            # os-brick sees only maps that still have a path.
            self._flush(find(diff.id))
        for path in diff.paths:
            locks.forget_portal_locks(path.portal, path.iqn)

    def disconnect_template(self, template_id: str) -> None:
        """Log out of all paths of a template and remove its map.

        All that this host has of it goes, whoever named the paths. Nothing
        can be lost with a template, so a dead path is not waited for.

        :raises MultipathError: the map or a session does not go.
        """
        device = self.stop_queueing(template_id)
        what = f'template {template_id}'
        with _translated(what):
            self._flush(device)
            gone = self._logins.forget_template(template_id)
            # of a path that answered in between, and has gone again: who
            # looks at what is new would wait for it for ever
            self._flush(self.stop_queueing(template_id))
        for node in gone:
            locks.forget_portal_locks(node.portal, node.iqn)

    def end_orphans(self, spared: Collection[str]) -> None:
        """Log out of templates that nobody asks for any more.

        :param spared: ids of templates that are in use.
        """
        self._logins.end_orphans(spared)

    def _make(self, lun: logins.Lun) -> str:
        answering = self._logins.answering(lun)
        if not answering and not self._logins.known(lun):
            # a detach was faster than this attach
            self.reach(lun)
            answering = self._logins.answering(lun)
        # a relay alone won't do: it may leave at any time
        if all(path.relay for path in answering):
            raise exception.MultipathError(what=_describe(lun), reason=_(
                'no path answered or let this host in; check the network to '
                'these portals, and detach and attach the volume again so '
                'that Cinder hands out valid credentials.'))
        # Disks come with their sessions, and multipathd sees them: mostly
        # there is nothing to do, least of all under a lock of the host's.
        if not sysfs.wait(lambda: running(lun.id) > 0, _OWN_SECONDS):
            with _translated(_describe(lun)):
                self._iscsi.connect_volume(_properties(lun, answering))
        device = find(lun.id)
        if device is None:
            raise exception.MultipathError(what=_describe(lun), reason=_(
                'the disks are there, but no map with WWID %(wwid)s; check '
                'that multipath.conf does not blacklist vendor VMTHUNDR and '
                'that %(file)s is installed.') % {
                    'wwid': lun.wwid, 'file': _DROP_IN})
        return device

    def _lengthen(self, device: str, size: int) -> bool:
        """Return whether it is so: multipathd may just have undone it."""
        devicemapper.lengthen(devicemapper.name_of(device),
                              size // sysfs.SECTOR)
        return sysfs.size(device) >= size

    def _ask_size(self, diff: connection.Diff, device: str) -> int:
        disks = sysfs.listing(os.path.basename(device), 'slaves')
        for disk in disks:
            blockdev.rescan(disk)
        sizes = {sysfs.size(f'/dev/{disk}') for disk in disks}
        # A path that was lost still has the size that it had.
        if len(sizes) != 1 or running(diff.id) < len(disks):
            raise exception.MultipathError(what=_describe(diff), reason=_(
                'not all of its paths tell the same size; check the network '
                'to these portals and extend the volume again.'))
        return sizes.pop()

    def _check(self, lun: logins.Lun, device: str) -> None:
        if 'queue_if_no_path' not in devicemapper.table(
                devicemapper.name_of(device)):
            raise exception.MultipathError(what=_describe(lun), reason=_(
                'map %(map)s does not queue when its paths are gone, so one '
                'I/O error would destroy the volume; install %(file)s and '
                'run "multipathd reconfigure".') % {
                    'map': device, 'file': _DROP_IN})
        read_only = sysfs.attribute(os.path.basename(device), 'ro') == '1'
        if isinstance(lun, connection.Template) and not read_only:
            raise exception.MultipathError(what=_describe(lun), reason=_(
                'it is not write-protected; check its export on the '
                'storage host.'))

    def stop_queueing(self, unique_id: str) -> Optional[str]:
        """Have a LUN's map fail what it queues, if it has no path left.

        Only for what is to go: who stands on it would get errors.

        :returns: device of the map, if there is one.
        """
        device = find(unique_id)
        if device is not None and not running(unique_id):
            self._iscsi._execute(
                'multipathd', 'disablequeueing', 'map',
                devicemapper.name_of(device), run_as_root=True,
                root_helper=self._root_helper, check_exit_code=False)
        return device

    def _flush(self, device: Optional[str]) -> None:
        if device is not None:
            self._iscsi._linuxscsi.flush_multipath_device(
                devicemapper.name_of(device))


def find(unique_id: str) -> Optional[str]:
    """Return the device of a LUN's multipath map, if there is one."""
    return devicemapper.find_uuid(f'mpath-{connection.wwid(unique_id)}')


def running(unique_id: str) -> int:
    """Count the usable paths below a LUN's map; 0 without a map."""
    device = find(unique_id)
    if device is None:
        return 0
    return sum(sysfs.attribute(disk, 'device', 'state') == 'running'
               for disk in sysfs.listing(os.path.basename(device), 'slaves'))


def _describe(lun: logins.Lun) -> str:
    kind = ('template' if isinstance(lun, connection.Template)
            else 'the diff of volume')
    portals = ', '.join(path.portal for path in lun.paths)
    return f'{kind} {lun.id} ({portals})'


def _properties(lun: logins.Lun, paths: Sequence[connection.Path]
                ) -> dict[str, Any]:
    """Return some paths of a LUN as os-brick's iSCSI connector wants them.
    """
    portals, iqns, luns = zip(
        *((path.portal, path.iqn, path.lun) for path in paths))
    return {
        'target_discovered': False,
        'target_portal': portals[0],
        'target_portals': list(portals),
        'target_iqn': iqns[0],
        'target_iqns': list(iqns),
        'target_lun': luns[0],
        'target_luns': list(luns),
        'auth_method': 'CHAP',
        'auth_username': lun.chap.username,
        'auth_password': lun.chap.password,
    }


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except exception.VMThunderException:
        raise
    except (brick_exception.BrickException,
            processutils.ProcessExecutionError, OSError) as error:
        raise exception.MultipathError(what=what,
                                       reason=str(error)) from error
