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

"""LIO, the kernel's iSCSI target, by rtslib inside the privileged process.

A target here has one portal group and one LUN, and the backstore has the
target's name. Every function finds what is there already and may be called
again at any time. The kernel is the only place that knows the state; nothing
is saved for the next boot, since who asked for an export asks again.
"""

import contextlib
import dataclasses
import fcntl
import glob
import os
from typing import Any, Iterator, Sequence

from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder import privileged

LOG = logging.getLogger(__name__)

#: What INQUIRY says of our own LUNs, for multipath's configuration.
VENDOR = 'VMTHUNDR'

#: Implicit ALUA states, as in SPC.
OPTIMIZED, NON_OPTIMIZED = 0, 1

_CONFIGFS = '/sys/kernel/config/target'
_DATABASE = '/etc/target'  # the kernel's default directory need not exist
_LUN = 0
_GROUP = 'vmthunder'
# Hosts that export one LUN in one state are one target port group. The
# kernel's default group is the first and is optimized.
_GROUP_ID = {NON_OPTIMIZED: 2}


@dataclasses.dataclass(frozen=True)
class Target:
    """One exported block device.

    :ivar iqn: name of the target.
    :ivar device: path of the block device.
    :ivar portals: (address, port) pairs; IPv6 with or without brackets.
    :ivar unique_id: UUID that the LUN's WWID is made from.
    :ivar product: marks one of our own LUNs in INQUIRY, together with
        :data:`VENDOR`; None leaves LIO's own strings.
    :ivar read_only: open the device only for reading.
    :ivar state: ALUA state, :data:`OPTIMIZED` or :data:`NON_OPTIMIZED`.
    :ivar public: who knows these credentials may read; None admits only
        those to whom :func:`grant` gave access.
    :ivar iser: speak iSER.
    """

    iqn: str
    device: str
    portals: tuple[tuple[str, int], ...]
    unique_id: str
    product: str | None = None
    read_only: bool = False
    state: int = OPTIMIZED
    public: connection.Chap | None = None
    iser: bool = False


def export(target: Target) -> None:
    """Make sure that a device is exported exactly as wanted.

    :raises TargetError: LIO refused.
    """
    _export(dataclasses.asdict(target))


def grant(iqn: str, initiator: str, chap: connection.Chap,
          beside: Sequence[str] | None = None) -> tuple[str, ...]:
    """Give an initiator access to an exported target.

    :param beside: only if nobody but these has access; None for whoever.
    :returns: those that stood in the way; none if access was given.
    :raises TargetError: LIO refused, or there is no such target.
    """
    return tuple(_grant(iqn, initiator, chap.username, chap.password,
                        None if beside is None else list(beside)))


@privileged.default.entrypoint
def _export(wanted: dict[str, Any]) -> None:
    target = Target(**wanted)
    if target.public:
        target = dataclasses.replace(
            target, public=connection.Chap(**wanted['public']))
    with _alone('export', target.iqn):
        store = _find_store(target.iqn)
        if store and not _is_right(store, target):
            LOG.warning('Export of %(iqn)s was left half made or is of '
                        'something else; making it again.',
                        {'iqn': target.iqn})
            _remove(target.iqn)
            store = None
        group = _portal_group(target.iqn, 'any')
        _set(group, authentication=1, **_openness(target))
        if target.public:
            _protect(group, target.public)
        _attach_lun(group, store or _make_store(target), target)
        _listen(group, target)
        group.enable = True


@privileged.default.entrypoint
def unexport(iqn: str, unless_granted: bool = False) -> bool:
    """Remove a target with its sessions and its backstore.

    :param unless_granted: keep it while an initiator has access.
    :returns: whether it is gone.
    :raises TargetError: LIO refused.
    """
    with _alone('remove', iqn):
        group = _portal_group(iqn)
        if unless_granted and group and list(group.node_acls):
            return False
        _remove(iqn)
        return True


@privileged.default.entrypoint
def _grant(iqn: str, initiator: str, username: str, password: str,
           beside: Sequence[str] | None) -> list[str]:
    rtslib = _rtslib()
    with _alone('grant access to', iqn):
        group = _portal_group(iqn, 'lookup')
        others = [] if beside is None else [
            acl.node_wwn for acl in group.node_acls if acl.node_wwn not in
            map(str.lower, (initiator, *beside))]
        if others:
            return others
        acl = rtslib.NodeACL(group, initiator)
        # a write would make the kernel ask a living session anew
        if (acl.chap_userid, acl.chap_password) != (username, password):
            acl.chap_userid = username
            acl.chap_password = password
        mapped = list(acl.mapped_luns)
        if mapped and not _links(mapped[0]):
            mapped.pop().delete()
        if not mapped:
            rtslib.MappedLUN(acl, _LUN, _LUN)
        return []


@privileged.default.entrypoint
def revoke(iqn: str, initiator: str | None) -> None:
    """Take an initiator's access and end its sessions.

    :param initiator: None stands for everyone.
    :raises TargetError: LIO refused.
    """
    with _alone('take access to', iqn):
        group = _portal_group(iqn)
        for acl in list(group.node_acls) if group else ():
            if initiator is None or acl.node_wwn == initiator.lower():
                acl.delete()


@privileged.default.entrypoint
def exported(iqns: Sequence[str]) -> list[str]:
    """Return those of the given targets that exist."""
    return [iqn for iqn in iqns
            if os.path.isdir(os.path.join(_CONFIGFS, 'iscsi', iqn))]


@privileged.default.entrypoint
def serves(iqn: str, device: str, portals: Sequence[str]) -> bool:
    """Tell whether a target is complete, and serves a device.

    Unlike :func:`export` this never waits, even if the device hangs.

    :param portals: as "address:port", where it has to listen.
    """
    group = os.path.join(_CONFIGFS, 'iscsi', iqn, 'tpgt_1')
    stores = glob.glob(os.path.join(_CONFIGFS, 'core', 'iblock_*',
                                    glob.escape(iqn), 'udev_path'))
    try:
        # the last step of exporting enables it
        return (_read(os.path.join(group, 'enable')) == '1' and
                device in map(_read, stores) and
                set(portals) <= set(os.listdir(os.path.join(group, 'np'))))
    except FileNotFoundError:
        return False


@privileged.default.entrypoint
def names(part: str) -> list[str]:
    """Return the targets, and parts of such, with a text in their names."""
    found: set[str] = set()
    for pattern in ('iscsi/*', 'core/iblock_*/*'):
        found.update(map(os.path.basename, glob.glob(
            os.path.join(_CONFIGFS, pattern))))
    return sorted(name for name in found if part in name)


@privileged.default.entrypoint
def initiators(iqn: str) -> list[str]:
    """Return the initiators that have access to a target."""
    with _alone('read', iqn):
        group = _portal_group(iqn)
        return [acl.node_wwn for acl in group.node_acls] if group else []


@privileged.default.entrypoint
def sessions(iqn: str) -> list[str]:
    """Return the initiators that are logged in to a public target."""
    path = os.path.join(_CONFIGFS, 'iscsi', iqn, 'tpgt_1',
                        'dynamic_sessions')
    try:
        with open(path) as file:
            return file.read().replace('\0', '\n').split()
    except FileNotFoundError:
        return []


@privileged.default.entrypoint
def logged_in(pairs: Sequence[Sequence[str]]) -> list[bool | None]:
    """Tell which initiators are logged in to targets that aren't public.

    :param pairs: each the names of a target and of an initiator.
    :returns: for each pair, None if the initiator has no access.
    """
    return [_has_session(iqn, initiator.lower()) for iqn, initiator in pairs]


def _has_session(iqn: str, initiator: str) -> bool | None:
    if '/' in iqn + initiator:
        return None
    try:
        return 'TARG_SESS_STATE_LOGGED_IN' in _read(os.path.join(
            _CONFIGFS, 'iscsi', iqn, 'tpgt_1', 'acls', initiator, 'info'))
    except FileNotFoundError:
        return None


def _rtslib() -> Any:
    # Slow to import, and only the privileged process needs it.
    import rtslib_fb
    return rtslib_fb


@contextlib.contextmanager
def _alone(action: str, iqn: str) -> Iterator[None]:
    """Keep every thread and process that uses this module out of LIO.

    rtslib chooses a backstore's number by a list in its own memory, so two
    at once would choose the same.
    """
    rtslib = _rtslib()
    try:
        _load()
        directory = os.open(_CONFIGFS, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            rtslib.tcm.bs_cache.clear()
            yield
        finally:
            os.close(directory)
    except (rtslib.RTSLibError, OSError,
            processutils.ProcessExecutionError) as error:
        raise exception.TargetError(action=action, target=iqn,
                                    reason=str(error)) from error


def _load() -> None:
    if not os.path.isdir(_CONFIGFS):
        processutils.execute('modprobe', 'target_core_mod')
    # where the kernel keeps reservations; it can't be set later
    os.makedirs(_DATABASE, 0o755, exist_ok=True)
    _rtslib().RTSRoot()


def _portal_group(iqn: str, mode: str | None = None) -> Any:
    """Return the portal group of a target; without a mode, None if not."""
    rtslib = _rtslib()
    try:
        fabric = rtslib.FabricModule('iscsi')
        target = rtslib.Target(fabric, iqn, mode or 'lookup')
        return rtslib.TPG(target, 1, mode or 'lookup')
    except rtslib.utils.RTSLibNotInCFSError:
        if mode:
            raise
        return None


def _find_store(iqn: str) -> Any:
    rtslib = _rtslib()
    try:
        return rtslib.BlockStorageObject(iqn)
    except rtslib.utils.RTSLibNotInCFSError:
        return None


def _make_store(target: Target) -> Any:
    try:
        store = _open_store(target)
    except _rtslib().RTSLibError:
        _sweep()
        store = _open_store(target)
    if target.product:
        for name, value in (('vendor_id', VENDOR),
                            ('product_id', target.product)):
            _write(os.path.join(store.path, 'wwn', name), value)
    return store


def _open_store(target: Target) -> Any:
    return _rtslib().BlockStorageObject(
        target.iqn, target.device, wwn=target.unique_id,
        readonly=target.read_only)


def _sweep() -> None:
    """Remove what is left of a backstore that somebody was killed over.

    Each is a directory in one with a number; rtslib takes a number for free
    if nothing is in it, and then fails since it exists.
    """
    core = os.path.join(_CONFIGFS, 'core')
    for name in os.listdir(core):
        path = os.path.join(core, name)
        if name.startswith('iblock_') and not any(
                entry.is_dir() for entry in os.scandir(path)):
            os.rmdir(path)


def _is_right(store: Any, target: Target) -> bool:
    """Whether an existing backstore is complete and the wanted one."""
    if not store.is_configured() or store.udev_path != target.device:
        return False
    # A plain volume that stock Cinder exported keeps its random WWID.
    return not target.product or (
        store.wwn == target.unique_id and
        store.readonly == target.read_only and
        _read(os.path.join(store.path, 'wwn', 'product_id')).endswith(
            target.product))


def _openness(target: Target) -> dict[str, int]:
    public = int(target.public is not None)
    return {'generate_node_acls': public, 'cache_dynamic_acls': public,
            'demo_mode_write_protect': 1}


def _set(group: Any, **attributes: int) -> None:
    for name, value in attributes.items():
        if int(group.get_attribute(name)) != value:
            group.set_attribute(name, value)


def _protect(group: Any, chap: connection.Chap) -> None:
    group.chap_userid = chap.username
    group.chap_password = chap.password
    # rtslib says nothing if the kernel didn't take them
    if (group.chap_userid, group.chap_password) != (
            chap.username, chap.password):
        raise _rtslib().RTSLibError('the kernel did not take the secret')


def _attach_lun(group: Any, store: Any, target: Target) -> None:
    rtslib = _rtslib()
    luns = list(group.luns)
    if luns and not _links(luns[0]):
        luns.pop().delete()
    lun = luns[0] if luns else rtslib.LUN(group, _LUN, store)
    if target.state == OPTIMIZED:
        return
    alua = _port_group(store, _GROUP_ID[target.state])
    alua.alua_access_state = target.state
    lun.alua_tg_pt_gp_name = _GROUP


def _port_group(store: Any, number: int) -> Any:
    rtslib = _rtslib()
    names = [group.name for group in store.alua_tpgs]
    if _GROUP in names:
        found = rtslib.ALUATargetPortGroup(store, _GROUP)
        if _read(os.path.join(found.path, 'tg_pt_gp_id')) == str(number):
            return found
        found.delete()  # killed before it got its number
    return rtslib.ALUATargetPortGroup(store, _GROUP, number)


def _links(node: Any) -> bool:
    # Killed between making a LUN's directory and its link: a husk.
    return any(entry.is_symlink() for entry in os.scandir(node.path))


def _listen(group: Any, target: Target) -> None:
    rtslib = _rtslib()
    for address, port in target.portals:
        if ':' in address and not address.startswith('['):
            address = f'[{address}]'
        portal = rtslib.NetworkPortal(group, address, port)
        if target.iser:
            portal.iser = True


def _remove(iqn: str) -> None:
    rtslib = _rtslib()
    group = _portal_group(iqn)
    if group:
        group.delete()
    with contextlib.suppress(rtslib.utils.RTSLibNotInCFSError):
        rtslib.Target(rtslib.FabricModule('iscsi'), iqn, 'lookup').delete()
    store = _find_store(iqn)
    if store:
        store.delete()
    else:
        _sweep()


def _read(path: str) -> str:
    with open(path) as file:
        return file.read().strip()


def _write(path: str, value: str) -> None:
    with open(path, 'w') as file:
        file.write(value)
