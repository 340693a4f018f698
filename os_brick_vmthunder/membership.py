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

"""What is recorded of a host that reads a template, with its connection.

The Cinder driver adds it to ``connection_info``, where Cinder keeps it with
the attachment: who relays a template and who is whose parent is read from
there, by the driver and by operators. Hosts ignore it.
"""

import dataclasses
import json
from typing import Any, Mapping

#: The key in connection_info.
KEY = 'member'

_DECODER = json.JSONDecoder()
_MARK = f'"{KEY}": {{'


@dataclasses.dataclass(frozen=True)
class Membership:
    """One host's place among those that read a template.

    :ivar id: name of the target by which the host would relay.
    :ivar host: its name.
    :ivar initiator: its iSCSI name.
    :ivar planned_at: when the place was given: UTC, ISO 8601, microseconds,
        so that it sorts as text.
    :ivar parents: ids of the relays it was told to read from.
    :ivar portal: "address:port" where it relays; None if it doesn't.
    :ivar zone: where it is, if known.
    """

    id: str
    host: str
    initiator: str
    planned_at: str
    parents: tuple[str, ...] = ()
    portal: str | None = None
    zone: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is added to the data of connection_info."""
        return {KEY: dataclasses.asdict(self)}

    @classmethod
    def of(cls, info: Any) -> 'Membership | None':
        """Return what a connection_info records; None if nothing."""
        note = info.get(KEY) if isinstance(info, Mapping) else None
        return cls._of_note(note)

    @classmethod
    def read(cls, text: str) -> 'Membership | None':
        """Return what the JSON text of a connection_info records.

        The rest of it isn't decoded if it is formatted as Cinder does: one
        decision reads thousands of them.
        """
        start = text.find(_MARK)
        try:
            if start < 0:
                return cls.of(json.loads(text))
            return cls._of_note(
                _DECODER.raw_decode(text, start + len(_MARK) - 1)[0])
        except ValueError:
            return None

    @classmethod
    def _of_note(cls, note: Any) -> 'Membership | None':
        try:
            return cls(note['id'], note['host'], note['initiator'],
                       note['planned_at'], tuple(note['parents']),
                       note['portal'], note['zone'])
        except (KeyError, TypeError):
            return None
