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

"""The tree of hosts that read a template, from what Cinder's API returns."""

import collections
import dataclasses
from typing import Any, Collection, Iterable, Mapping

from os_brick_vmthunder.i18n import _
from os_brick_vmthunder import membership

_HERE = ('attached', 'attaching')


@dataclasses.dataclass(frozen=True)
class Host:
    """A host in a tree.

    :ivar id: of the host as a relay.
    :ivar name: the host's.
    :ivar state: of the attachment that says what the host does now.
    :ivar relay: "address:port" where it serves; None for a leaf.
    :ivar zone: where it is, if known.
    :ivar depth: steps to the root by way of first parents.
    :ivar parents: (id, name) of relays; the name is None of one that left.
    :ivar volumes: ids.
    :ivar planned_at: when it was given its place.
    """

    id: str
    name: str
    state: str
    relay: str | None
    zone: str | None
    depth: int
    parents: tuple[tuple[str, str | None], ...]
    volumes: tuple[str, ...]
    planned_at: str


@dataclasses.dataclass(frozen=True)
class Tree:
    """Who reads a template, and from whom.

    :ivar root: portals of the backend.
    :ivar hosts: each right after its first parent's line.
    """

    template_id: str
    root: tuple[str, ...]
    hosts: tuple[Host, ...]

    @property
    def depth(self) -> int:
        return max(host.depth for host in self.hosts)

    @property
    def volumes(self) -> set[str]:
        return {volume for host in self.hosts for volume in host.volumes}

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {'template': self.template_id, 'root': list(self.root),
                'depth': self.depth,
                'hosts': [_host_to_dict(host) for host in self.hosts]}

    def to_text(self) -> str:
        """Return it as lines, children indented below their first parents."""
        rows = [(_('HOST'), _('STATE'), _('RELAYS AT'), _('ZONE'),
                 _('SECOND PARENT'), _('VOLUMES'))]
        for host in self.hosts:
            rows.append((
                '  ' * (host.depth - 1) + host.name, host.state,
                host.relay or '-', host.zone or '-',
                ', '.join(name or _('(gone)')
                          for _id, name in host.parents[1:]) or '-',
                str(len(host.volumes))))
        widths = [max(map(len, column)) for column in zip(*rows)]
        return '\n'.join([
            _('Template %(id)s: %(hosts)d hosts, depth %(depth)d, root '
              '%(root)s') % {'id': self.template_id,
                             'hosts': len(self.hosts), 'depth': self.depth,
                             'root': ' '.join(self.root)},
            *('  '.join(cell.ljust(width) for cell, width in
                        zip(row, widths)).rstrip() for row in rows)])


@dataclasses.dataclass(frozen=True)
class _Record:
    """One attachment that tells of a host."""

    member: membership.Membership
    template_id: str
    root: tuple[str, ...]
    volume_id: str
    state: str


def trees(attachments: Iterable[Mapping[str, Any]],
          detaching: Collection[str]) -> list[Tree]:
    """Return the trees of all templates.

    :param attachments: as listed in detail.
    :param detaching: ids of the volumes that Cinder says are.
    """
    by_template = collections.defaultdict(list)
    for attachment in attachments:
        record = _read(attachment, detaching)
        if record:
            by_template[record.template_id].append(record)
    return [_tree(template_id, records)
            for template_id, records in sorted(by_template.items())]


def _read(attachment: Mapping[str, Any],
          detaching: Collection[str]) -> _Record | None:
    info = attachment.get('connection_info')
    member = membership.Membership.of(info)
    if not member or not info:
        return None
    volume_id = attachment['volume_id']
    template = info.get('template') or {}
    return _Record(
        member, str(template.get('id')),
        tuple(path['portal'] for path in template.get('paths', ())
              if not path.get('relay')),
        volume_id,
        'detaching' if volume_id in detaching else
        str(attachment.get('status')))


def _tree(template_id: str, records: list[_Record]) -> Tree:
    found = collections.defaultdict(list)
    for record in sorted(records, key=lambda record: (
            record.state in _HERE, record.member.planned_at)):
        found[record.member.id].append(record)
    newest = {id: each[-1] for id, each in found.items()}
    hosts = tuple(
        Host(id=id, name=newest[id].member.host, state=newest[id].state,
             relay=newest[id].member.portal, zone=newest[id].member.zone,
             depth=depth,
             parents=tuple(
                 (parent, newest[parent].member.host
                  if parent in newest else None)
                 for parent in newest[id].member.parents),
             volumes=tuple(sorted({record.volume_id
                                   for record in found[id]})),
             planned_at=newest[id].member.planned_at)
        for id, depth in _walk({id: record.member
                                for id, record in newest.items()}))
    return Tree(template_id, records[-1].root, hosts)


def _walk(members: dict[str, membership.Membership]
          ) -> Iterable[tuple[str, int]]:
    """Go from the root to each host with its depth, parents first.

    A host whose parents have all left reads from the root. So, for want of
    a better place, does one of those that name each other in a circle.
    """
    children: dict[str | None, list[str]] = collections.defaultdict(list)
    for id, member in members.items():
        first = next((parent for parent in member.parents
                      if parent in members), None)
        children[first].append(id)
    seen = set()
    for top in [*sorted(children[None], key=lambda id: members[id].host),
                *members]:
        pending = [(top, 1)]
        while pending:
            id, depth = pending.pop()
            if id in seen:
                continue
            seen.add(id)
            yield id, depth
            pending += ((child, depth + 1) for child in sorted(
                children.get(id, ()), key=lambda id: members[id].host,
                reverse=True))


def _host_to_dict(host: Host) -> dict[str, Any]:
    return {**dataclasses.asdict(host),
            'parents': [{'id': id, 'name': name}
                        for id, name in host.parents]}
