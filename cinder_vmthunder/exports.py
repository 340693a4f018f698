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

"""Exports of diffs, each together with its template.

A host that has vmthunder gets the diff, and the template beside it. Any
other one, and the backend's own, gets a plain iSCSI volume, which is
assembled here.

A template is exported while a diff of it is. Both change only under the
template's lock, so that the last diff to go takes the template's export
along and the next to come finds it or makes it.
"""

import contextlib
import socket
from typing import Any, Iterator

from os_brick_vmthunder import announcement
from os_brick_vmthunder import connection
from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import excutils
from oslo_utils import units

from cinder_vmthunder import assembly
from cinder_vmthunder import attachments
from cinder_vmthunder import credentials
from cinder_vmthunder import diffs
from cinder_vmthunder import exception
from cinder_vmthunder import locks
from cinder_vmthunder import profiles
from cinder_vmthunder import relays
from cinder_vmthunder import targets
from cinder_vmthunder import templates
from cinder_vmthunder import volumegroup

CONF = cfg.CONF
LOG = logging.getLogger(__name__)


class Exports:
    """Exports of the diffs of a backend.

    :param group: where the LVs are.
    :param volumes: the diffs.
    :param assemblies: the diffs that are assembled here.
    :param exporters: export diffs, assemblies and templates.
    :param secrets: of templates.
    :param records: what is kept of who was told what.
    :param tree: places hosts below others.
    :param known: profiles of templates.
    """

    def __init__(self, group: volumegroup.VolumeGroup, volumes: diffs.Diffs,
                 assemblies: assembly.Assemblies,
                 exporters: targets.Targets,
                 secrets: credentials.Credentials,
                 records: attachments.Attachments,
                 tree: relays.Relays, known: profiles.Profiles) -> None:
        self._group = group
        self._diffs = volumes
        self._assemblies = assemblies
        self._diff_target = exporters.diff
        self._assembly_target = exporters.assembly
        self._template_target = exporters.template
        self._credentials = secrets
        self._attachments = records
        self._relays = tree
        self._profiles = known

    def create(self, context: Any, volume: Any, diff: diffs.Diff,
               connector: dict[str, Any]) -> dict[str, str]:
        """Export a diff to one host.

        The manager removes the export when ``initialize_connection()``
        fails, so whoever must not disturb another host is refused here.

        :returns: what Cinder is to store.
        :raises AttachedElsewhere: another host has the diff.
        """
        company = self._company(volume, diff, connector)
        with locks.template_lock(diff.template_id):
            self._make_way(volume, diff, connector)
            target, device = self._prepare(diff, connector,
                                           self._is_used(volume))
            export = target.create_export(context, volume, device)
        update = {'provider_location': export['location'],
                  'provider_auth': export['auth']}
        try:
            target.admit(volume, connector, targets.chap_of(update), company)
        except Exception:
            with excutils.save_and_reraise_exception():
                self.remove(volume, diff)
        return update

    def ensure(self, context: Any, volume: Any, diff: diffs.Diff) -> None:
        """Make the exports and ACLs of an attached diff after a reboot."""
        connectors = targets.connectors(volume)
        if not connectors:
            return
        with locks.template_lock(diff.template_id):
            target, device = self._prepare(diff, connectors[0], used=True)
            target.ensure_export(context, volume, device)

    def remove(self, volume: Any, diff: diffs.Diff,
               even_if_used: bool = False) -> None:
        """Remove a diff's export, and its template's if it was the last.

        :param even_if_used: also if a host still has access. The manager
            asks to remove an export whenever a host was refused, and then
            the other host's must stay.
        """
        with locks.template_lock(diff.template_id):
            if even_if_used:
                self._diff_target.remove(volume)
            elif not self._diff_target.remove_unless_admitted(volume):
                return
            self._assemblies.remove(diff.name)
            if (self._template_target.is_built(diff.template_id) and
                    not self._diff_target.exported(self._siblings(diff))):
                self._template_target.remove_export(diff.template_id)

    def extend(self, diff: diffs.Diff, size: int) -> None:
        """Give a diff room for a larger volume, also while it is exported.

        :param size: bytes.
        """
        with locks.template_lock(diff.template_id):
            self._assemblies.extend(self._diffs.extend(diff, size))

    def collect(self, volumes: list[volumegroup.LogicalVolume]) -> None:
        """Remove what somebody was killed over.

        :param volumes: all LVs of the group.
        """
        self._assemblies.collect(
            volumes, lambda name: self._diff_target.exported([name]))

    def connect(self, volume: Any, diff: diffs.Diff,
                connector: dict[str, Any]) -> dict[str, Any]:
        """Return the connection of a host to what was exported to it.

        :raises TargetFailed: it isn't exported any more.
        """
        with self._undone_on_error(volume, connector) as attachment:
            if _assembles(diff, connector):
                return self._connect(volume, diff, connector, attachment)
            return self._assembly_target.initialize_connection(
                volume, connector, self._company(volume, diff, connector))

    def _connect(self, volume: Any, diff: diffs.Diff,
                 connector: dict[str, Any],
                 attachment: attachments.Attachment | None
                 ) -> dict[str, Any]:
        """Return the connection of a host that assembles volumes.

        Under the template's lock it is planned and stored with Cinder's
        attachment, so that whoever plans next knows. A host for which Cinder
        keeps no attachment, as with the API of before attachments, reads
        from the root and relays nothing, since nobody could know of it.
        """
        host = announcement.Announcement.of(connector)
        heard = self._profiles.hear(host)
        with locks.template_lock(diff.template_id):
            place = attachment and self._relays.place(
                volume, diff.template_id, connector)
            data = connection.Connection(
                volume_id=volume.id,
                volume_size=volume.size * units.Gi,
                mode=diff.mode,
                template=connection.Template(
                    id=diff.template_id,
                    size=diff.template_size,
                    paths=((place.paths if place else ()) +
                           self._template_target.paths(diff.template_id)),
                    chap=self._credentials.get(diff.template_id),
                    export=place.export if place else None,
                    profile=self._profiles.get(diff.template_id,
                                               diff.template_size)
                    if host and host.profiles is not None else None),
                diff=connection.Diff(
                    id=volume.id,
                    paths=targets.paths_of(volume),
                    chap=targets.chap_of(volume),
                    chunk_sectors=diff.chunk_sectors),
                heard=heard)
            note = place.member.to_dict() if place else {}
            info = {'driver_volume_type': connection.PROTOCOL,
                    'data': {**data.to_dict(), **note}}
            if attachment:
                self._attachments.store(attachment, connector, info)
            return info

    def disconnect(self, volume: Any,
                   connector: dict[str, Any] | None) -> bool:
        """End the access of a host, or of everybody for lack of a host.

        :returns: whether the host keeps it for another attachment.
        """
        if connector:
            same = [other for other in targets.connectors(volume)
                    if self._diff_target.are_same_connector(other, connector)]
            if len(same) > 1:
                return True
        self._diff_target.terminate_connection(volume, connector)
        return False

    def _siblings(self, diff: diffs.Diff) -> list[str]:
        """Return the names of all diffs of a diff's template."""
        found = templates.users(self._group.volumes())
        return [sibling.name for sibling in found.get(diff.template_id, ())]

    def _company(self, volume: Any, diff: diffs.Diff,
                 connector: dict[str, Any]) -> tuple[str, ...]:
        """Return who may have a volume beside the host that is to get it.

        That is the host that its server leaves by live migration. A snapshot
        of the kernel's is on one host only, but QEMU hands an overlay over,
        and a volume that is assembled here is like any other.

        :raises AttachedElsewhere: somebody else has it; nothing was changed.
        """
        others = {initiator for initiator in
                  self._diff_target.admitted(volume)
                  if initiator != connector['initiator'].lower()}
        if not others:
            return ()
        leaving = self._attachments.left_by_server(volume, connector)
        error = exception.AttachedElsewhere
        if leaving and others == {leaving}:
            if (diff.mode is connection.SnapshotMode.VMM or
                    not _assembles(diff, connector)):
                return (leaving,)
            error = exception.CannotMigrate
        raise error(volume=volume.id,
                    host=targets.host_name(volume, min(others)))

    def _make_way(self, volume: Any, diff: diffs.Diff,
                  connector: dict[str, Any]) -> None:
        """Remove an export of the other kind, unless a host has access.

        :raises AttachedElsewhere: one has.
        """
        if self._assemblies.is_built(diff.name) == (
                not _assembles(diff, connector)):
            return
        self._diff_target.refuse_if_admitted(volume)
        self._diff_target.remove(volume)
        self._assemblies.remove(diff.name)

    def _is_used(self, volume: Any) -> bool:
        """Whether a host has a volume, or will have again after a reboot."""
        return bool(targets.connectors(volume) or
                    self._diff_target.admitted(volume))

    def _prepare(self, diff: diffs.Diff, connector: dict[str, Any],
                 used: bool) -> tuple[targets.DiffTarget, str]:
        """Return the device for a host, and what exports it.

        :param used: whether a host has it already.
        """
        if not _assembles(diff, connector):
            return self._assembly_target, self._assemblies.build(diff)
        secret = self._credentials.get(diff.template_id)
        template = self._group.activate(templates.name_of(diff.template_id))
        self._template_target.create_export(diff.template_id, template,
                                            secret)
        return self._diff_target, (self._diffs.activate(diff) if used else
                                   self._diffs.mend(diff))

    @contextlib.contextmanager
    def _undone_on_error(self, volume: Any, connector: dict[str, Any]
                         ) -> Iterator[attachments.Attachment | None]:
        # Cinder doesn't call terminate_connection() for a connection that
        # failed: the ACL would keep every other host out, and others would
        # be told to read from a host that never comes.
        attachment = None
        try:
            attachment = self._attachments.find(volume, connector)
            yield attachment
        except Exception:
            with excutils.save_and_reraise_exception():
                if attachment:
                    self._attachments.restore(attachment)
                if not any(self._diff_target.are_same_connector(
                        other, connector)
                        for other in targets.connectors(volume)):
                    self._diff_target.terminate_connection(volume, connector)


def _assembles(diff: diffs.Diff, connector: dict[str, Any]) -> bool:
    """Whether a host assembles a volume from template and diff itself.

    The backend's own needn't, whatever it has: both are local.
    """
    host = announcement.Announcement.of(connector)
    return (host is not None and diff.mode.value in host.modes and
            connector.get('host') not in (CONF.host, socket.gethostname()))
