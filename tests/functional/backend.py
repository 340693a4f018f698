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

"""A storage host's exports, made without Cinder.

For tests of the compute side: a template and diffs on plain files, exported
by the same code that the Cinder driver uses. Functions ending in ``_here``
run on the storage host.
"""

import dataclasses
import hashlib
import os
import pathlib
import random
import subprocess
from typing import Any, Sequence
import uuid

from os_brick_vmthunder import connection
from tests.lab import host as lab_host

MODULES = ('rtslib_fb', 'os_brick_vmthunder.privileged.lio')

_FILES = pathlib.Path('/var/lib/backend')
_PREFIX = 'iqn.2010-10.org.openstack:'
_BLOCK = 64 << 10
#: More than a snapshot's takes for any volume here, less than a GiB.
_METADATA = 64 << 20


def content(template_id: str, size: int) -> bytes:
    """Return a template's bytes: different in every block, never zero."""
    return random.Random(template_id).randbytes(size)


def _loop_here(name: str, size: int) -> str:
    _FILES.mkdir(exist_ok=True)
    path = _FILES / name
    if not path.exists():
        with open(path, 'xb') as file:
            file.truncate(size)
    found = subprocess.run(['losetup', '-n', '-O', 'NAME', '-j', path],
                           check=True, capture_output=True, text=True)
    if found.stdout.strip():
        return found.stdout.strip()
    made = subprocess.run(['losetup', '-f', '--show', path], check=True,
                          capture_output=True, text=True)
    return made.stdout.strip()


def _export_here(product: str, unique_id: str, size: int,
                 addresses: list[str], chap: connection.Chap,
                 initiator: str | None, data: bytes) -> None:
    _unprivileged()
    from os_brick_vmthunder.privileged import lio
    name = f'{product}-{unique_id}'
    device = _loop_here(name, size)
    if data:
        with open(_FILES / name, 'r+b') as file:
            file.write(data)
            os.fsync(file.fileno())
    template = product == 'template'
    lio.export(lio.Target(
        _PREFIX + name, device,
        tuple((address, 3260) for address in addresses), unique_id,
        product=product, read_only=template,
        state=lio.NON_OPTIMIZED if template else lio.OPTIMIZED,
        public=chap if template else None))
    if initiator:
        lio.grant(_PREFIX + name, initiator, chap)


def _export_plain_here(unique_id: str, size: int, addresses: list[str],
                       initiator: str, chap: connection.Chap) -> None:
    _unprivileged()
    from os_brick_vmthunder.privileged import lio
    name = f'plain-{unique_id}'
    lio.export(lio.Target(
        _PREFIX + name, _loop_here(name, size),
        tuple((address, 3260) for address in addresses), unique_id))
    lio.grant(_PREFIX + name, initiator, chap)


def _grow_here(name: str, size: int) -> None:
    with open(_FILES / name, 'r+b') as file:
        file.truncate(size)
    subprocess.run(['losetup', '-c', _loop_here(name, size)], check=True)


def _remove_here(product: str, unique_id: str) -> None:
    _unprivileged()
    from os_brick_vmthunder.privileged import lio
    name = f'{product}-{unique_id}'
    lio.unexport(_PREFIX + name)
    subprocess.run(['losetup', '-d', _loop_here(name, 0)], check=True)
    (_FILES / name).unlink()


def _revoke_here(unique_id: str) -> None:
    _unprivileged()
    from os_brick_vmthunder.privileged import lio
    lio.revoke(f'{_PREFIX}diff-{unique_id}', None)


def _grant_here(unique_id: str, initiator: str,
                chap: connection.Chap) -> None:
    _unprivileged()
    from os_brick_vmthunder.privileged import lio
    lio.grant(f'{_PREFIX}diff-{unique_id}', initiator, chap)


def _unprivileged() -> None:
    from os_brick_vmthunder import privileged
    privileged.default.set_client_mode(False)


@dataclasses.dataclass
class Backend:
    """What Cinder's part would be, on one storage host."""

    host: lab_host.Host
    addresses: list[str]

    def make_template(self, size: int) -> connection.Template:
        """Export a template of random bytes.

        :param size: bytes.
        """
        unique_id = str(uuid.uuid4())
        chap = _secret('t', unique_id)
        self.host.call(_export_here, 'template', unique_id, size,
                       self.addresses, chap, None, content(unique_id, size))
        return connection.Template(
            unique_id, size, self._paths(f'template-{unique_id}'), chap)

    def make_volume(self, template: connection.Template, size: int,
                    host: lab_host.Host) -> connection.Connection:
        """Export an empty diff to a host and return the contract.

        :param size: the volume's, in bytes.
        """
        unique_id = str(uuid.uuid4())
        chap = _secret('d', unique_id)
        self.host.call(_export_here, 'diff', unique_id, size + _METADATA,
                       self.addresses, chap, _initiator(host), b'')
        return connection.Connection(
            unique_id, size, connection.SnapshotMode.DM, template,
            connection.Diff(unique_id, self._paths(f'diff-{unique_id}'),
                            chap, 16))

    def make_plain(self, size: int, host: lab_host.Host) -> dict[str, Any]:
        """Export an empty LUN as Cinder's LVM driver does over LIO.

        :param size: bytes.
        :returns: the properties of an iSCSI connection.
        """
        unique_id = str(uuid.uuid4())
        chap = _secret('p', unique_id)
        self.host.call(_export_plain_here, unique_id, size, self.addresses,
                       _initiator(host), chap)
        portals = [f'{address}:3260' for address in self.addresses]
        iqns = [f'{_PREFIX}plain-{unique_id}'] * len(portals)
        luns = [0] * len(portals)
        return {'volume_id': unique_id, 'target_discovered': False,
                'target_portal': portals[0], 'target_portals': portals,
                'target_iqn': iqns[0], 'target_iqns': iqns,
                'target_lun': luns[0], 'target_luns': luns,
                'auth_method': 'CHAP', 'auth_username': chap.username,
                'auth_password': chap.password}

    def extend(self, volume: connection.Connection,
               size: int) -> connection.Connection:
        """Extend a volume's diff, exported or not; return its contract.

        :param size: the volume's, in bytes.
        """
        self.host.call(_grow_here, f'diff-{volume.volume_id}',
                       size + _METADATA)
        return dataclasses.replace(volume, volume_size=size)

    def relayed(self, volume: connection.Connection, host: lab_host.Host,
                parents: Sequence[lab_host.Host] = ()
                ) -> connection.Connection:
        """Return the contract for a host that is to relay the template.

        :param parents: whom it reads from, before the storage host.
        """
        template = volume.template
        paths = tuple(connection.Path(_portal(parent), _relay(
            template, parent), 0, parent.name) for parent in parents)
        return dataclasses.replace(volume, template=dataclasses.replace(
            template, paths=paths + template.paths,
            export=connection.Export(_relay(template, host),
                                     _portal(host))))

    def move(self, volume: connection.Connection,
             host: lab_host.Host) -> connection.Connection:
        """Take the diff from whoever has it and give it to a host.

        :returns: the contract for that host, with a secret of its own.
        """
        self.host.call(_revoke_here, volume.volume_id)
        chap = _secret('d', volume.volume_id)
        self.host.call(_grant_here, volume.volume_id, _initiator(host), chap)
        return dataclasses.replace(
            volume, diff=dataclasses.replace(volume.diff, chap=chap))

    def remove_volume(self, volume: connection.Connection) -> None:
        self.host.call(_remove_here, 'diff', volume.volume_id)

    def remove_plain(self, properties: dict[str, Any]) -> None:
        self.host.call(_remove_here, 'plain', properties['volume_id'])

    def remove_template(self, template: connection.Template) -> None:
        self.host.call(_remove_here, 'template', template.id)

    def _paths(self, name: str) -> tuple[connection.Path, ...]:
        return tuple(connection.Path(f'{address}:3260', _PREFIX + name, 0)
                     for address in self.addresses)


def _portal(host: lab_host.Host) -> str:
    return f'{host.address}:3260'


def _relay(template: connection.Template, host: lab_host.Host) -> str:
    digest = hashlib.sha256(host.name.encode()).hexdigest()[:16]
    return f'{_PREFIX}template-{template.id}:{digest}'


def _initiator(host: lab_host.Host) -> str:
    line = host.run('cat', '/etc/iscsi/initiatorname.iscsi').stdout
    return line.strip().rpartition('InitiatorName=')[2]


def _secret(kind: str, unique_id: str) -> connection.Chap:
    return connection.Chap(kind + unique_id[:8], uuid.uuid4().hex[:16])


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
