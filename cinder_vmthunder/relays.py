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

"""Which hosts a host reads a template from, and what it is to relay.

Nothing is kept here: members are read from volume attachments, and whether
they are there from LIO, since a host's session to its diff ends with it.
"""

import collections
import dataclasses
import datetime
import ipaddress
import re
from typing import Any, Iterable, Mapping

from os_brick_vmthunder import announcement
from os_brick_vmthunder import connection
from os_brick_vmthunder import membership
from oslo_log import log as logging
from oslo_utils import timeutils

from cinder_vmthunder import attachments
from cinder_vmthunder import targets
from cinder_vmthunder import topology

LOG = logging.getLogger(__name__)

_LUN = 0
_MINOR = 1  # of the contract 1.x, the first that knows relays


@dataclasses.dataclass(frozen=True)
class Place:
    """A host's place in the tree of a template.

    :ivar member: to be recorded.
    :ivar paths: to the relays that it reads from.
    """

    member: membership.Membership
    paths: tuple[connection.Path, ...]

    @property
    def export(self) -> connection.Export | None:
        """What the host is to serve."""
        if not self.member.portal:
            return None
        return connection.Export(self.member.id, self.member.portal)


class Relays:
    """Hosts that serve the templates of a backend on to others.

    :param configuration: of the backend.
    :param records: of who was told what.
    :param diff_target: knows which hosts are there.
    :param template_target: names relays.
    """

    def __init__(self, configuration: Any, records: attachments.Attachments,
                 diff_target: targets.DiffTarget,
                 template_target: targets.TemplateTarget) -> None:
        self._configuration = configuration
        self._attachments = records
        self._diff_target = diff_target
        self._template_target = template_target

    def place(self, volume: Any, template_id: str,
              connector: dict[str, Any]) -> Place:
        """Find a host's place. Call it under the template's lock.

        What it returns counts for others once it is recorded.
        """
        host = announcement.Announcement.of(connector)
        member = membership.Membership(
            id=self._template_target.relay_iqn(template_id,
                                               connector['initiator']),
            host=_host_name(connector), initiator=connector['initiator'],
            planned_at=_time(), zone=host.zone if host else None)
        if not host or not _knows_relays(host.version) or \
                not self._configuration.vmthunder_relay_networks:
            return Place(member, ())
        others = _Members(self._attachments.of_template(volume, template_id))
        parents = [others.newest(id).member
                   for id in self._parents(member, others)]
        member = dataclasses.replace(
            member, portal=self._portal(host, connector),
            parents=tuple(parent.id for parent in parents))
        LOG.info('Host %(host)s reads template %(template)s from %(parents)s.',
                 {'host': member.host, 'template': template_id,
                  'parents': ', '.join(parent.host for parent in parents)
                  or 'the root alone'})
        return Place(member, tuple(
            connection.Path(parent.portal, parent.id, _LUN, parent.host)
            for parent in parents if parent.portal))

    def _parents(self, member: membership.Membership,
                 others: '_Members') -> tuple[str, ...]:
        limits = topology.Limits(
            root=self._configuration.vmthunder_root_fan_out,
            relay=self._configuration.vmthunder_relay_fan_out)
        chosen = topology.place(member.id, member.zone,
                                others.for_topology(set()), limits)
        if not self._gone(others, chosen):
            return chosen
        # Hosts die together: where one is gone, look at all.
        gone = self._gone(others, others.ids)
        LOG.warning('%(count)d hosts that should read the template that '
                    '%(host)s is about to read have no session; none of '
                    'them becomes its parent.',
                    {'count': len(gone), 'host': member.host})
        return topology.place(member.id, member.zone,
                              others.for_topology(gone), limits)

    def _gone(self, others: '_Members', ids: Iterable[str]) -> set[str]:
        """Return those of some members that have left or died.

        A host that has just been told to come need not have arrived.
        """
        asked = [(id, record) for id in ids for record in others.records(id)]
        answers = self._diff_target.logged_in(
            [(record.diff_iqn, record.member.initiator)
             for _id, record in asked])
        expected_since = _time(-self._configuration.vmthunder_relay_grace)
        there = {id for (id, record), answer in zip(asked, answers)
                 if answer or (answer is not None and
                               record.member.planned_at > expected_since)}
        return {id for id, _record in asked} - there

    def _portal(self, host: announcement.Announcement,
                connector: dict[str, Any]) -> str | None:
        portal = host.portal(connector.get('ip'))
        if not portal:
            return None
        if not is_allowed(portal, networks(self._configuration)):
            LOG.warning('Host %(host)s would relay at %(portal)s, which is in '
                        'none of vmthunder_relay_networks; it only reads.',
                        {'host': _host_name(connector), 'portal': portal})
            return None
        return portal


class _Members:
    """The hosts of a template, each with all that is recorded of it."""

    def __init__(self, records: Iterable[attachments.Record]) -> None:
        self._records: dict[str, list[attachments.Record]] = (
            collections.defaultdict(list))
        for record in sorted(records, key=lambda record: (
                not record.is_leaving, record.member.planned_at)):
            self._records[record.member.id].append(record)

    @property
    def ids(self) -> list[str]:
        return list(self._records)

    def records(self, id: str) -> list[attachments.Record]:
        return self._records[id]

    def newest(self, id: str) -> attachments.Record:
        """Return the one that says what a host does now."""
        return self._records[id][-1]

    def for_topology(self, gone: set[str]) -> list[topology.Member]:
        """Return the members.

        :param gone: those that are known to be.
        """
        members = []
        for id in self._records:
            newest = self.newest(id)
            members.append(topology.Member(
                id=id, parents=newest.member.parents,
                serves=bool(newest.member.portal) and id not in gone and
                not newest.is_leaving,
                zone=newest.member.zone))
        return members


def networks(configuration: Any) -> list[Any]:
    """Return the networks that relays may be in.

    :raises ValueError: one isn't a network.
    """
    return [ipaddress.ip_network(network, strict=False)
            for network in configuration.vmthunder_relay_networks]


def is_allowed(portal: str, allowed: Iterable[Any]) -> bool:
    """Whether a portal is an address in one of some networks."""
    try:
        address = ipaddress.ip_address(
            portal.rpartition(':')[0].strip('[]'))
    except ValueError:
        return False
    return any(address in network for network in allowed)


def _knows_relays(version: str) -> bool:
    match = re.fullmatch(r'1\.(\d+)', version)
    return match is not None and int(match[1]) >= _MINOR


def _host_name(connector: Mapping[str, Any]) -> str:
    # It becomes a part of other hosts' connections, which take words only.
    name = str(connector.get('host') or '')
    return name if re.fullmatch(r'\S+', name) else connector['initiator']


def _time(offset: float = 0) -> str:
    """Return the time in so many seconds, as members are recorded with."""
    time = timeutils.utcnow() + datetime.timedelta(seconds=offset)
    return time.isoformat(timespec='microseconds')
