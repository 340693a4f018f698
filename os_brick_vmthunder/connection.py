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

"""The connection contract between the Cinder driver and the connector.

Cinder's ``connection_info['data']`` is parsed here once, into frozen
dataclasses; whoever holds a :class:`Connection` may trust it. Unknown keys
are ignored, since Cinder, Nova and newer minor versions add their own.
"""

import dataclasses
import enum
import re
from typing import Any, Callable, Mapping, TypeVar
import uuid

from oslo_log import log as logging

from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder import profile as profiles

LOG = logging.getLogger(__name__)

#: What this code writes and the newest it can read: "major.minor". A new
#: minor adds keys that may be ignored, a new major changes meanings.
VERSION = '1.3'

#: ``driver_volume_type`` of a connection.
PROTOCOL = 'vmthunder'

SECTOR = 512

_NAA_PREFIX = '36001405'
_IQN = re.compile(r'(iqn|eui|naa)\.\S+$')
_PORTAL = re.compile(r'(\[[0-9a-fA-F:.%\w]+\]|[^\s:\[\]/]+):(\d{1,5})$')

_T = TypeVar('_T')


def wwid(unique_id: str) -> str:
    """Return the WWID that multipath sees of a LUN.

    :param unique_id: the UUID that the backstore was exported with.
    :returns: NAA identifier as LIO derives it from the UUID.
    """
    return _NAA_PREFIX + uuid.UUID(unique_id).hex[:25]


class SnapshotMode(enum.Enum):
    """Who makes the writable snapshot over the origin."""

    #: device-mapper, on the host
    DM = 'dm'
    #: the hypervisor: the diff is a qcow2 overlay whose backing file is the
    #: origin
    VMM = 'vmm'


@dataclasses.dataclass(frozen=True)
class Chap:
    """CHAP credentials of a target."""

    username: str
    password: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Path:
    """One way to a LUN.

    :ivar relay: name of the host that relays a template on this path; None
        for the storage host, the root.
    """

    portal: str
    iqn: str
    lun: int
    relay: str | None = None


@dataclasses.dataclass(frozen=True)
class Export:
    """How a host is to serve a template on to others.

    :ivar iqn: name of its target; no other host's.
    :ivar portal: "address:port" where it serves.
    """

    iqn: str
    portal: str


@dataclasses.dataclass(frozen=True)
class Template:
    """The read-only template of a volume.

    :ivar id: the template's UUID; its WWID follows from it.
    :ivar size: bytes.
    :ivar paths: in order of preference.
    :ivar chap: opens every path of this template and nothing else; also
        this host's export of it.
    :ivar export: what this host is to export, None for nothing.
    :ivar profile: what guests read of it when they boot, if that is known.
    """

    id: str
    size: int
    paths: tuple[Path, ...]
    chap: Chap
    export: Export | None = None
    profile: profiles.Profile | None = None

    @property
    def parents(self) -> tuple[Path, ...]:
        """The paths that relays serve."""
        return tuple(path for path in self.paths if path.relay)

    @property
    def wwid(self) -> str:
        return wwid(self.id)


@dataclasses.dataclass(frozen=True)
class Diff:
    """The copy-on-write store of a volume.

    :ivar id: UUID of the LUN, the volume's id.
    :ivar chunk_sectors: unit in which it takes room, in sectors of 512
        bytes: a snapshot's chunk, an overlay's cluster.
    """

    id: str
    paths: tuple[Path, ...]
    chap: Chap
    chunk_sectors: int

    @property
    def wwid(self) -> str:
        return wwid(self.id)


@dataclasses.dataclass(frozen=True)
class Connection:
    """All a host needs to attach one volume.

    :ivar volume_size: bytes.
    :ivar heard: digests of those profiles that this host announced and need
        not announce again.
    """

    volume_id: str
    volume_size: int
    mode: SnapshotMode
    template: Template
    diff: Diff
    heard: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.template.size > self.volume_size:
            raise _refused(self.volume_id, _(
                'its template has %(template)d bytes, more than the volume '
                'with %(volume)d; make the volume larger.') % {
                    'template': self.template.size,
                    'volume': self.volume_size})

    def to_dict(self) -> dict[str, Any]:
        """Return the contract as plain data for ``connection_info``."""
        return {
            'version': VERSION,
            'volume_id': self.volume_id,
            'volume_size': self.volume_size,
            'snapshot_mode': self.mode.value,
            'heard': list(self.heard),
            'template': {
                'id': self.template.id,
                'size': self.template.size,
                'export': (self.template.export and
                           dataclasses.asdict(self.template.export)),
                'profile': (self.template.profile and
                            self.template.profile.to_text()),
                **_lun_to_dict(self.template)},
            'diff': {
                'chunk_sectors': self.diff.chunk_sectors,
                **_lun_to_dict(self.diff)},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> 'Connection':
        """Parse ``connection_info['data']``.

        :raises InvalidConnection: malformed, or of a newer major version.
        """
        if not isinstance(data, Mapping):
            raise _refused('?', _('it is not a mapping.'))
        volume_id = str(data.get('volume_id', '?'))
        _check_version(volume_id, data)
        reader = _Reader(volume_id, data)
        volume_id = reader.take('volume_id', _uuid)
        template = reader.inner('template')
        diff = reader.inner('diff')
        template_id = template.take('id', _uuid)
        size = template.take('size', _sectors)
        return cls(
            volume_id=volume_id,
            volume_size=reader.take('volume_size', _sectors),
            mode=reader.take('snapshot_mode', SnapshotMode),
            template=Template(
                id=template_id,
                size=size,
                paths=template.take('paths', _paths),
                chap=template.chap(),
                export=template.optional('export', _export),
                profile=template.optional(
                    'profile', lambda text: _profile(text, size))),
            diff=Diff(
                id=volume_id,
                paths=diff.take('paths', _paths),
                chap=diff.chap(),
                chunk_sectors=diff.take('chunk_sectors', _chunk)),
            heard=reader.optional('heard', _texts) or ())


def _lun_to_dict(lun: Template | Diff) -> dict[str, Any]:
    # auth_password is a name that OpenStack's log masking knows
    return {'paths': [dataclasses.asdict(path) for path in lun.paths],
            'auth_method': 'CHAP',
            'auth_username': lun.chap.username,
            'auth_password': lun.chap.password}


def _refused(volume_id: str, reason: str) -> exception.InvalidConnection:
    return exception.InvalidConnection(volume=volume_id, reason=reason)


def _check_version(volume_id: str, data: Mapping[str, Any]) -> None:
    version = data.get('version')
    match = re.fullmatch(r'(\d+)\.(\d+)', str(version))
    if not match:
        raise _refused(volume_id, _(
            'it has no valid version (%r); is the volume of a VMThunder '
            'backend?') % (version,))
    if int(match[1]) != int(VERSION.split('.')[0]):
        raise _refused(volume_id, _(
            'it has version %(theirs)s and this host understands %(ours)s; '
            'install the same vmthunder release here as on the Cinder '
            'backend.') % {'theirs': version, 'ours': VERSION})


class _Reader:
    """Takes values out of a mapping and names the one that is wrong."""

    def __init__(self, volume_id: str, data: Any, where: str = '') -> None:
        self._volume_id = volume_id
        self._data = data
        self._where = where

    def take(self, key: str, convert: Callable[[Any], _T]) -> _T:
        try:
            return convert(self._data[key])
        except KeyError:
            problem = _('is missing')
        except (TypeError, ValueError) as error:
            problem = str(error)
        raise _refused(self._volume_id, _(
            '%(key)s %(problem)s. The Cinder backend sent it; check that '
            'both run the same release.') % {
                'key': self._where + key, 'problem': problem})

    def optional(self, key: str, convert: Callable[[Any], _T]) -> _T | None:
        return None if self._data.get(key) is None else self.take(
            key, convert)

    def inner(self, key: str) -> '_Reader':
        return _Reader(self._volume_id, self.take(key, _mapping),
                       f'{key}.')

    def chap(self) -> Chap:
        self.take('auth_method', _chap_method)
        return Chap(self.take('auth_username', _text),
                    self.take('auth_password', _text))


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(_('is not a mapping'))
    return value


def _text(value: Any) -> str:
    # A line end would end up in iscsiadm's record files.
    if not isinstance(value, str) or not re.fullmatch(r'\S+', value):
        raise ValueError(_('is not a word'))
    return value


def _chap_method(value: Any) -> str:
    if value != 'CHAP':
        raise ValueError(_('is not CHAP'))
    return value


def _uuid(value: Any) -> str:
    try:
        return str(uuid.UUID(_text(value)))
    except ValueError:
        raise ValueError(_('is not a UUID'))


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(_('is not a number'))
    return value


def _sectors(value: Any) -> int:
    if not _number(value) or value % SECTOR:
        raise ValueError(_('is not a positive multiple of 512 bytes'))
    return value


def _chunk(value: Any) -> int:
    # The kernel's own bounds: a power of two, at least a page.
    if _number(value) < 8 or value & (value - 1) or value > 2048:
        raise ValueError(_('is not a power of two between 8 and 2048'))
    return value


def _portal(value: Any) -> str:
    match = _PORTAL.fullmatch(_text(value))
    if not match or not 0 < int(match[2]) < 65536:
        raise ValueError(_('has a portal that is not host:port'))
    return value


def _iqn(value: Any) -> str:
    if not _IQN.fullmatch(_text(value)):
        raise ValueError(_('has an iqn that is not an iSCSI name'))
    return value


def _paths(value: Any) -> tuple[Path, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(_('is not a list of at least one path'))
    return tuple(Path(_portal(path['portal']), _iqn(path['iqn']),
                      _number(path['lun']), _relay(path.get('relay')))
                 for path in map(_mapping, value))


def _relay(value: Any) -> str | None:
    return None if value is None else _text(value)


def _export(value: Any) -> Export:
    data = _mapping(value)
    return Export(_iqn(data['iqn']), _portal(data['portal']))


def _profile(value: Any, size: int) -> profiles.Profile | None:
    # A guest needs none of it: it is no reason to refuse a volume.
    try:
        return profiles.Profile.parse(value, size)
    except exception.InvalidProfile as error:
        LOG.warning('%s', error)
        return None


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        return ()
    return tuple(text for text in value if isinstance(text, str))
