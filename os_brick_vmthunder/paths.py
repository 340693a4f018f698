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

Every login, scan and multipath step is os-brick's own iSCSI connector's;
this module checks what came out of it before anything is built on it.
"""

import contextlib
import os
from typing import Any, Iterator, Optional

from os_brick import exception as brick_exception
from os_brick.initiator.connectors import iscsi
from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder import locks
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

Lun = connection.Template | connection.Diff

_DROP_IN = '/etc/multipath/conf.d/vmthunder.conf'


class Paths:
    """Connects LUNs and finds the maps over their paths."""

    def __init__(self, initiator: iscsi.ISCSIConnector,
                 root_helper: str) -> None:
        self._iscsi = initiator
        self._root_helper = root_helper

    def verify(self) -> None:
        """Check that maps can be made here at all.

        :raises ConfigurationError: multipathd isn't running.
        """
        if not self._iscsi._linuxscsi.is_multipath_running(
                self._root_helper, execute=self._iscsi._execute):
            raise exception.ConfigurationError(reason=_(
                'multipathd does not answer; start it (systemctl enable '
                '--now multipathd).'))

    def connect(self, lun: Lun) -> str:
        """Log in to all paths of a LUN.

        :returns: device of its multipath map.
        :raises MultipathError: no path answered, or the map is not the one
            that may carry a guest's data.
        """
        if not complete(lun):
            with _translated(lun):
                self._iscsi.connect_volume(_properties(lun))
        device = find(lun)
        if device is None:
            raise exception.MultipathError(what=_describe(lun), reason=_(
                'the disks are there, but no map with WWID %(wwid)s; check '
                'that multipath.conf does not blacklist vendor VMTHUNDR and '
                'that %(file)s is installed.') % {
                    'wwid': lun.wwid, 'file': _DROP_IN})
        self._check(lun, device)
        return device

    def disconnect(self, lun: Lun, force: bool = False) -> None:
        """Log out of all paths of a LUN and remove its map.

        Nothing may stand on the map any more. If no path is left, what was
        still queued in the map fails: only teardown may do that.

        :raises MultipathError: the map or a session does not go.
        """
        device = find(lun)
        if device is not None and not running(lun):
            self._iscsi._execute(
                'multipathd', 'disablequeueing', 'map',
                devicemapper.name_of(device), run_as_root=True,
                root_helper=self._root_helper, check_exit_code=False)
        with _translated(lun):
            self._iscsi.disconnect_volume(
                _properties(lun), {'type': 'block', 'path': device or ''},
                force=force)
            # os-brick sees only maps that still have a path.
            device = find(lun)
            if device is not None:
                self._iscsi._linuxscsi.flush_multipath_device(
                    devicemapper.name_of(device))
        for path in lun.paths:
            locks.forget_portal_locks(path.portal, path.iqn)

    def _check(self, lun: Lun, device: str) -> None:
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


def find(lun: Lun) -> Optional[str]:
    """Return the device of a LUN's multipath map, if there is one."""
    return devicemapper.find_uuid(f'mpath-{lun.wwid}')


def running(lun: Lun) -> int:
    """Count the usable paths below a LUN's map; 0 without a map."""
    device = find(lun)
    if device is None:
        return 0
    return sum(sysfs.attribute(disk, 'device', 'state') == 'running'
               for disk in sysfs.listing(os.path.basename(device), 'slaves'))


def complete(lun: Lun) -> bool:
    """Tell whether a LUN's map has all its paths."""
    return running(lun) >= len(lun.paths)


def _describe(lun: Lun) -> str:
    kind = ('template' if isinstance(lun, connection.Template)
            else 'the diff of volume')
    portals = ', '.join(path.portal for path in lun.paths)
    return f'{kind} {lun.id} ({portals})'


def _properties(lun: Lun) -> dict[str, Any]:
    """Return the LUN as os-brick's iSCSI connector wants it."""
    portals, iqns, luns = zip(
        *((path.portal, path.iqn, path.lun) for path in lun.paths))
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
def _translated(lun: Lun) -> Iterator[None]:
    try:
        yield
    except brick_exception.VolumeDeviceNotFound:
        raise exception.MultipathError(what=_describe(lun), reason=_(
            'no path answered or let this host in; check the network to '
            'these portals, and detach and attach the volume again so that '
            'Cinder hands out valid credentials.'))
    except (brick_exception.BrickException,
            processutils.ProcessExecutionError, OSError) as error:
        raise exception.MultipathError(what=_describe(lun),
                                       reason=str(error)) from error
