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

"""Cinder's volume attachments: where it is kept which host reads what.

Cinder's manager and API store the connector and the connection of a host when
the driver has returned. That is too late for the next host, which may be
planned meanwhile, so the driver stores the same under the template's lock.
"""

import dataclasses
from typing import Any, Iterable

from cinder import context
from cinder.db import api as db_api
from cinder.db import models
from cinder import objects
from cinder.objects import fields
from os_brick_vmthunder import membership
from oslo_log import log as logging
from oslo_serialization import jsonutils
import sqlalchemy as sa

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Attachment:
    """A row that a host's connection belongs to, as it was found.

    :ivar connector: JSON, as all of this.
    """

    id: str
    status: str | None
    connector: str | None
    connection_info: str | None


@dataclasses.dataclass(frozen=True)
class Record:
    """A host that was handed the connection of a volume."""

    member: membership.Membership
    status: str | None
    volume_status: str | None
    connection_info: str

    @property
    def is_leaving(self) -> bool:
        """Whether the host gives the volume up or never got it."""
        return (self.volume_status == fields.VolumeStatus.DETACHING
                or self.status not in (fields.VolumeAttachStatus.ATTACHED,
                                       fields.VolumeAttachStatus.ATTACHING))

    @property
    def diff_iqn(self) -> str:
        """Name of the target that exports the volume to the host."""
        info = jsonutils.loads(self.connection_info)
        return info['diff']['paths'][0]['iqn']


class Attachments:
    """Attachments of the volumes of a backend.

    :param db: Cinder's database API.
    """

    def __init__(self, db: Any) -> None:
        self._db = db

    def find(self, volume: Any,
             connector: dict[str, Any]) -> Attachment | None:
        """Return the attachment that a host is about to get.

        Cinder doesn't tell the driver. It is the volume's newest one that no
        host has, or else the one that this host has already.

        :returns: None if Cinder keeps none, as with the API of before
            attachments: then nobody knows later that the host reads.
        """
        row = _choose(self._rows(volume), connector)
        return row and Attachment(row.id, row.attach_status, row.connector,
                                  row.connection_info)

    def left_by_server(self, volume: Any,
                       connector: dict[str, Any]) -> str | None:
        """Return the initiator of the host that a server is about to leave.

        :param connector: of the host that the server is to go to.
        :returns: None if no other host has the volume, or more than one has,
            or for another server, or nobody knows for which.
        """
        rows = self._rows(volume)
        row = _choose(rows, connector)
        others = [other for other in rows if other.connector and
                  not _is_same(other.connector, connector)]
        if not row or not row.instance_uuid or len(others) != 1 or (
                others[0].instance_uuid != row.instance_uuid):
            return None
        return _initiator(others[0].connector)

    def store(self, attachment: Attachment, connector: dict[str, Any],
              info: dict[str, Any]) -> None:
        """Store what a host is about to be told, as Cinder will.

        With this status Cinder ends the host's access, should the process
        die now and the attachment be deleted.

        :param info: as ``initialize_connection()`` returns it.
        """
        info = {**info['data'],
                'driver_volume_type': info['driver_volume_type'],
                'attachment_id': attachment.id,
                'enforce_multipath': connector.get('enforce_multipath',
                                                   False)}
        self._update(attachment.id, fields.VolumeAttachStatus.ATTACHING,
                     jsonutils.dumps(connector), jsonutils.dumps(info))

    def restore(self, attachment: Attachment) -> None:
        """Put an attachment back to what it was; only log a failure."""
        try:
            self._update(attachment.id, attachment.status,
                         attachment.connector, attachment.connection_info)
        except Exception:
            LOG.exception('Attachment %s may name a host that did not get '
                          'the volume; delete the attachment.',
                          attachment.id)

    def of_template(self, volume: Any, template_id: str) -> list[Record]:
        """Return who was handed a connection that names a template.

        Cinder's own queries load whole volumes; this is one narrow query.

        :param volume: says which backend.
        """
        attachment, owner = models.VolumeAttachment, models.Volume
        query = (
            sa.select(attachment.attach_status, owner.status,
                      attachment.connection_info)
            .join(owner, owner.id == attachment.volume_id)
            .where(attachment.deleted == sa.false(),
                   owner.deleted == sa.false(),
                   _same_backend(volume),
                   attachment.connection_info.contains(template_id)))
        with db_api.main_context_manager.reader.using(
                context.get_admin_context()) as session:
            rows = session.execute(query).all()
        return list(_records(rows))

    def of_busy_volumes(self, host: str, cluster: str | None) -> list[Any]:
        """Return the attached volumes that Cinder does something with.

        Its manager has only those exported again, when it starts, that
        nothing else happens to.

        :param host: the service's, as ``name@backend``.
        :returns: volumes.
        """
        volumes = objects.VolumeList.get_all(
            context.get_admin_context(),
            filters={'cluster_name': cluster} if cluster else {'host': host})
        return [volume for volume in volumes
                if volume.status != fields.VolumeStatus.IN_USE and
                any(attachment.connector
                    for attachment in volume.volume_attachment)]

    def _rows(self, volume: Any) -> list[Any]:
        return self._db.volume_attachment_get_all_by_volume_id(
            context.get_admin_context(), volume.id)

    def _update(self, attachment_id: str, status: str | None,
                connector: str | None, info: str | None) -> None:
        self._db.volume_attachment_update(
            context.get_admin_context(), attachment_id,
            {'attach_status': status, 'connector': connector,
             'connection_info': info})


def _choose(rows: Iterable[Any], connector: dict[str, Any]) -> Any:
    """Return the row that a host is about to get: see :meth:`find`."""
    return max((row for row in rows if not row.connector or
                _is_same(row.connector, connector)),
               key=lambda row: (not row.connector, row.created_at),
               default=None)


def _is_same(stored: str, connector: dict[str, Any]) -> bool:
    return _initiator(stored) == connector['initiator'].lower()


def _initiator(stored: str) -> str:
    return (jsonutils.loads(stored).get('initiator') or '').lower()


def _same_backend(volume: Any) -> Any:
    """Return the condition for volumes whose root is a volume's."""
    if volume.cluster_name:
        column, value = models.Volume.cluster_name, volume.cluster_name
    else:
        column, value = models.Volume.host, volume.host
    backend = value.partition('#')[0]
    return sa.or_(column == backend,
                  column.startswith(f'{backend}#', autoescape=True))


def _records(rows: Iterable[Any]) -> Iterable[Record]:
    for status, volume_status, text in rows:
        member = membership.Membership.read(text)
        if member:
            yield Record(member, status, volume_status, text)
