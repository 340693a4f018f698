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


"""What a host tells Cinder of itself, in its connector properties.

The counterpart of :mod:`.connection`, read by the driver. Unknown keys are
ignored, and what is malformed counts as not said, since a host's own
configuration must not keep it from attaching volumes.
"""

import dataclasses
from typing import Any, Mapping

from os_brick_vmthunder import connection

#: The connector property that holds it.
KEY = 'vmthunder'


#: How many profiles are announced at once: each may have some KiB.
MOST_PROFILES = 2


@dataclasses.dataclass(frozen=True)
class RecordedProfile:
    """A template's profile that a host recorded.

    :ivar text: as :mod:`.profile` has it; whoever knows the template's size
        parses it.
    :ivar replaces: digest of the profile that didn't match any more; empty
        if the host knew of none.
    """

    template_id: str
    text: str
    replaces: str = ''


@dataclasses.dataclass(frozen=True)
class Announcement:
    """A host that takes vmthunder connections.

    :ivar version: newest version of the contract that it understands.
    :ivar relay_port: where it would serve templates to other hosts; None if
        it doesn't.
    :ivar relay_address: the address for that; None stands for the address
        that the connector itself names.
    :ivar zone: hosts of one zone are near each other; None for not known.
    :ivar modes: the snapshot modes that it can attach volumes in, by name;
        those of before there was a choice know one.
    :ivar profiles: what the host recorded and Cinder may not have heard of
        yet; None if it has no use for profiles.
    """

    version: str
    relay_port: int | None = None
    relay_address: str | None = None
    zone: str | None = None
    modes: tuple[str, ...] = (connection.SnapshotMode.DM.value,)
    profiles: tuple[RecordedProfile, ...] | None = None

    def portal(self, address: str | None) -> str | None:
        """Return "address:port" of the host as a relay; None if it is none.

        :param address: that the connector names.
        """
        address = self.relay_address or address
        if not self.relay_port or not address:
            return None
        if ':' in address and not address.startswith('['):
            address = f'[{address}]'
        return f'{address}:{self.relay_port}'

    def to_dict(self) -> dict[str, Any]:
        """Return the connector property."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, connector: Mapping[str, Any] | None
           ) -> 'Announcement | None':
        """Return what a connector says; None if it says nothing."""
        data = (connector or {}).get(KEY)
        if not isinstance(data, Mapping):
            return None
        return cls(version=str(data.get('version', '1.0')),
                   relay_port=_port(data.get('relay_port')),
                   relay_address=_word(data.get('relay_address')),
                   zone=_word(data.get('zone')),
                   modes=_words(data.get('modes')) or cls.modes,
                   profiles=_profiles(data.get('profiles')))


def _port(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 65536 else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        return ()
    return tuple(word for word in map(_word, value) if word)


def _profiles(value: Any) -> tuple[RecordedProfile, ...] | None:
    if not isinstance(value, (list, tuple)):
        return None
    return tuple(
        RecordedProfile(each['template_id'], each['text'],
                        _word(each.get('replaces')) or '')
        for each in value[:MOST_PROFILES] if isinstance(each, Mapping) and
        _word(each.get('template_id')) and _word(each.get('text')))
