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

"""iSCSI targets on LIO, without a process per operation.

Names, credentials and what Cinder stores of an export are those of Cinder's
own LIO target, so that either finds what the other made.
"""

import contextlib
import hashlib
import re
from typing import Any, Iterator, Sequence
import uuid

from cinder.volume.targets import iscsi
from cinder.volume import volume_utils
from os_brick import exception as brick_exception
from os_brick_vmthunder import connection
from os_brick_vmthunder.privileged import lio
from oslo_log import log as logging

from cinder_vmthunder import exception

LOG = logging.getLogger(__name__)

_ASSEMBLED = uuid.UUID('0b9b1f0e-8a35-4f0f-9c61-3d1f7f2d2f5b')
_UUID = re.compile(r'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}')


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except brick_exception.BrickException as error:
        raise exception.TargetFailed(name=name, reason=error.msg) from error


def chap_of(volume: Any) -> connection.Chap:
    """Return the credentials that Cinder stores of a volume's export."""
    _method, username, password = volume['provider_auth'].split(' ', 2)
    return connection.Chap(username, password)


def paths_of(volume: Any) -> tuple[connection.Path, ...]:
    """Return the ways to a volume's export that Cinder stores."""
    portals, iqn, lun = volume['provider_location'].split(' ')
    return tuple(connection.Path(portal, iqn, int(lun))
                 for portal in portals.split(',')[0].split(';'))


class LIOTarget(iscsi.ISCSITarget):
    """A drop-in replacement for ``cinder.volume.targets.lio.LioAdm``."""

    #: what INQUIRY says of the LUN, None for LIO's own strings
    product: str | None = None

    def _get_target_and_lun(self, context: Any,
                            volume: Any) -> tuple[int, int]:
        return 0, 0  # LIO needs no target id, and has one LUN a target

    def _get_iscsi_target(self, context: Any, vol_id: str) -> int:
        return 0

    def _get_target(self, iqn: str) -> str | None:
        return next(iter(lio.exported([iqn])), None)

    def create_iscsi_target(self, name: str, tid: int, lun: int, path: str,
                            chap_auth: Any, **kwargs: Any) -> str:
        """Make sure of a target; return its id, as LIO's the name."""
        with _translated(name):
            lio.export(lio.Target(
                iqn=name, device=path, product=self.product,
                portals=portals(self.configuration),
                unique_id=self.unique_id(name),
                iser=self.iscsi_protocol == 'iser'))
        return name

    def unique_id(self, name: str) -> str:
        """Return the UUID that the WWID of a target's LUN is made from."""
        return _UUID.findall(name)[-1]

    def remove_iscsi_target(self, tid: int, lun: int, vol_id: str,
                            vol_name: str, **kwargs: Any) -> None:
        with _translated(vol_name):
            lio.unexport(self.iqn(vol_name))

    def ensure_export(self, context: Any, volume: Any,
                      volume_path: str) -> None:
        """Make sure of the export of an attached volume, and of its ACLs."""
        if not volume['provider_auth']:
            return  # nothing was ever exported
        super().ensure_export(context, volume, volume_path)
        for connector in connectors(volume):
            self._grant(volume, connector)

    def initialize_connection(self, volume: Any,
                              connector: dict[str, Any]) -> dict[str, Any]:
        self._grant(volume, connector)
        return super().initialize_connection(volume, connector)

    def terminate_connection(self, volume: Any,
                             connector: dict[str, Any] | None,
                             **kwargs: Any) -> None:
        """End the access of a host, or of everybody for lack of a host."""
        with _translated(volume['name']):
            lio.revoke(self.iqn(volume['name']),
                       connector['initiator'] if connector else None)

    def iqn(self, volume_name: str) -> str:
        return f'{self.iscsi_target_prefix}{volume_name}'

    def _grant(self, volume: Any, connector: dict[str, Any]) -> None:
        with _translated(volume['name']):
            lio.grant(self.iqn(volume['name']), connector['initiator'],
                      chap_of(volume))


class DiffTarget(LIOTarget):
    """Exports diffs, each to one host, or to two that Cinder names."""

    product: str | None = 'diff'

    def _get_target_chap_auth(self, context: Any, volume: Any) -> Any:
        # A new export gets a new secret. So a host that lost the diff can't
        # come back by itself when it is given the diff again: what its
        # kernel knows of the diff may be stale by then.
        if not self._get_target(self.iqn(volume['name'])):
            return None
        return super()._get_target_chap_auth(context, volume)

    def initialize_connection(self, volume: Any,
                              connector: dict[str, Any],
                              company: Sequence[str] = ()) -> dict[str, Any]:
        # it may have been detached by force since it was admitted
        self.admit(volume, connector, chap_of(volume), company)
        return iscsi.ISCSITarget.initialize_connection(self, volume,
                                                       connector)

    def admit(self, volume: Any, connector: dict[str, Any],
              chap: connection.Chap, company: Sequence[str] = ()) -> None:
        """Let a host in unless another one is.

        :param company: initiators that may stay.
        :raises AttachedElsewhere: another one is; nothing was changed.
        """
        with _translated(volume['name']):
            others = lio.grant(self.iqn(volume['name']),
                               connector['initiator'], chap, company)
        if others:
            raise exception.AttachedElsewhere(
                volume=volume['id'], host=host_name(volume, others[0]))

    def remove_unless_admitted(self, volume: Any) -> bool:
        """Remove an export that no host has access to.

        :returns: whether it is gone.
        """
        with _translated(volume['name']):
            return lio.unexport(self.iqn(volume['name']),
                                unless_granted=True)

    def remove(self, volume: Any) -> None:
        """Remove an export, whoever uses it."""
        self.remove_iscsi_target(0, 0, volume['id'], volume['name'])

    def refuse_if_admitted(self, volume: Any) -> None:
        """Make sure that no host has access to a volume.

        :raises AttachedElsewhere: one has.
        """
        for initiator in self.admitted(volume):
            raise exception.AttachedElsewhere(
                volume=volume['id'], host=host_name(volume, initiator))

    def admitted(self, volume: Any) -> list[str]:
        """Return the initiators that have access to a volume."""
        with _translated(volume['name']):
            return lio.initiators(self.iqn(volume['name']))

    def exported(self, names: list[str]) -> bool:
        """Whether any volume of these names is exported."""
        return bool(lio.exported([self.iqn(name) for name in names]))

    def logged_in(self, pairs: Sequence[tuple[str, str]]
                  ) -> list[bool | None]:
        """Tell which hosts use what was exported to them.

        :param pairs: name of a target, and of an initiator.
        :returns: for each, None if the host may not use it.
        """
        return lio.logged_in(pairs) if pairs else []


class AssemblyTarget(DiffTarget):
    """Exports diffs assembled with their templates, as plain volumes."""

    product = None

    def unique_id(self, name: str) -> str:
        # not the diff's, which holds something else
        return str(uuid.uuid5(_ASSEMBLED, super().unique_id(name)))


class TemplateTarget:
    """Exports templates from the backend itself, the root of their trees.

    :param configuration: of the backend.
    """

    def __init__(self, configuration: Any) -> None:
        self._configuration = configuration

    def create_export(self, template_id: str, device: str,
                      chap: connection.Chap) -> None:
        """Make sure that who knows the secret can read a template."""
        with _translated(template_id):
            lio.export(lio.Target(
                iqn=self.iqn(template_id), device=device,
                portals=portals(self._configuration),
                unique_id=template_id, product='template', read_only=True,
                state=lio.NON_OPTIMIZED, public=chap))

    def remove_export(self, template_id: str) -> None:
        with _translated(template_id):
            lio.unexport(self.iqn(template_id))

    def is_built(self, template_id: str) -> bool:
        """Whether a template's export, or a part of it, is there."""
        return bool(lio.names(self.iqn(template_id)))

    def sessions(self, template_id: str) -> list[str]:
        """Return the initiators that are logged in to a template."""
        return list(lio.sessions(self.iqn(template_id)))

    def iqn(self, template_id: str) -> str:
        return f'{self._configuration.target_prefix}template-{template_id}'

    def relay_iqn(self, template_id: str, initiator: str) -> str:
        """Return the name of the target by which a host relays a template."""
        digest = hashlib.sha256(initiator.lower().encode()).hexdigest()
        return f'{self.iqn(template_id)}:{digest[:16]}'

    def paths(self, template_id: str) -> tuple[connection.Path, ...]:
        return tuple(
            connection.Path(f'{volume_utils.sanitize_host(address)}:{port}',
                            self.iqn(template_id), 0)
            for address, port in portals(self._configuration))


class Targets:
    """What exports whatever a backend has.

    :param configuration: of the backend.
    """

    def __init__(self, configuration: Any) -> None:
        self.diff = DiffTarget(configuration=configuration)
        self.assembly = AssemblyTarget(configuration=configuration)
        self.template = TemplateTarget(configuration)


def portals(configuration: Any) -> tuple[tuple[str, int], ...]:
    """Return the (address, port) pairs that a backend serves on."""
    addresses = [configuration.target_ip_address,
                 *(configuration.target_secondary_ip_addresses or ())]
    return tuple((address, configuration.target_port)
                 for address in addresses)


def connectors(volume: Any) -> list[dict[str, Any]]:
    """Return the connectors of the hosts that a volume is attached to."""
    return [attachment.connector for attachment in volume.volume_attachment
            if attachment.connector]


def host_name(volume: Any, initiator: str) -> str:
    """Return what to call a host that has access to a volume."""
    return next((f"{connector.get('host', '?')} ({initiator})"
                 for connector in connectors(volume)
                 if connector['initiator'].lower() == initiator), initiator)
