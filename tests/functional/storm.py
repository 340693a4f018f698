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

"""Hosts that attach volumes of one image at once and read it: a storm."""

import dataclasses
import pathlib
import statistics
import threading
import time
import typing

from cinderclient import client as cinder_client
from cinderclient import exceptions as cinder_exceptions
from keystoneauth1 import exceptions as keystone_exceptions

from tests.functional import base
from tests.functional import compute
from tests import lab
from tests.lab.controlplane import attachments
from tests.lab.controlplane import client
from tests.lab.controlplane import identity
from tests.lab.controlplane import plane
from tests.lab.controlplane import settings

MIB = 1 << 20
# A host reads the image through a link that is shared, on a busy machine.
_READ_TIMEOUT = 400
# As a proxy in front of Cinder's API does: what a killed cinder-volume was
# asked is never answered.
_REQUEST_TIMEOUT = 100

FAILURES = (cinder_exceptions.ClientException,
            keystone_exceptions.ClientException)


@dataclasses.dataclass(frozen=True)
class Row:
    """What one host did in a storm.

    :ivar parents: names of the relays it was told to read from.
    :ivar received: bytes on its data link, as ``sent``.
    :ivar from_root: bytes that it read from disks of the storage host, for
        whatever reason, as ``from_relays``.
    :ivar attached: seconds from the storm's beginning, as ``read``.
    """

    host: str
    attachment: attachments.Attachment
    parents: tuple[str, ...]
    checksum: str
    received: int
    sent: int
    from_root: int
    from_relays: int
    attached: float
    read: float

    @property
    def read_bytes(self) -> int:
        return self.from_root + self.from_relays


@dataclasses.dataclass(frozen=True)
class Result:
    """What was seen of a storm.

    :ivar egress: bytes that the storage host sent on its data link.
    """

    name: str
    rows: tuple[Row, ...]
    egress: int

    @property
    def read_from_root(self) -> int:
        """Bytes that all hosts read from the storage host's disks."""
        return sum(row.from_root for row in self.rows)

    @property
    def seconds(self) -> float:
        """Time until the last host had read all."""
        return max(row.read for row in self.rows)

    def __str__(self) -> str:
        lines = [f'{"host":9}{"parents":18}{"received":>10}{"sent":>10}'
                 f'{"of root":>10}{"of relays":>10}'
                 f'{"attached":>10}{"read":>8}']
        lines += [
            f'{row.host:9}{",".join(row.parents) or "root":18}'
            + ''.join(f'{count / MIB:6.1f} MiB' for count in (
                row.received, row.sent, row.from_root, row.from_relays))
            + f'{row.attached:8.1f} s{row.read:6.1f} s' for row in self.rows]
        reading = [row.read - row.attached for row in self.rows]
        lines.append(
            f'{self.name}: {len(self.rows)} hosts in {self.seconds:.1f} s '
            f'(reading alone {statistics.mean(reading):.1f} s each), root '
            f'egress {self.egress / MIB:.1f} MiB '
            f'({self.read_from_root / MIB:.1f} MiB of disks)')
        return '\n'.join(lines)


class Storm:
    """Some hosts, each about to attach a volume and to read from it.

    :param size: bytes that each reads from the volume's beginning.
    """

    def __init__(self, cloud: plane.ControlPlane,
                 hosts: typing.Sequence[lab.Host],
                 volumes: typing.Sequence[str], size: int) -> None:
        self._cloud = cloud
        self._hosts = hosts
        self._volumes = volumes
        self._size = size
        self._start = 0.0
        self._before: dict[lab.Host, dict[bool, int]] = {}
        session = identity.admin_session()
        session.timeout = _REQUEST_TIMEOUT
        self._cinder = cinder_client.Client(
            client.MICROVERSION, session=session,
            region_name=settings.REGION)
        self._connectors = dict(zip(hosts, base.together(*(
            lambda host=host: cloud.connector_properties(host)
            for host in hosts))))
        #: What was attached so far.
        self.attached: list[attachments.Attachment] = []
        #: How many attachments failed and were made again.
        self.retries = 0
        self._counting = threading.Lock()

    def run(self, name: str) -> Result:
        """Have all hosts attach at once and read, each when it can."""
        self._before = dict(zip(self._hosts, base.together(*(
            lambda host=host: host.call(read_bytes)
            for host in self._hosts))))
        nics = [host.network for host in (self._cloud.storage, *self._hosts)]
        before = [nic.counters() for nic in nics]
        self._start = time.monotonic()
        seen = base.together(*(
            lambda host=host, volume=volume: self._one(host, volume)
            for host, volume in zip(self._hosts, self._volumes)))
        root, *passed = [nic.counters() - old
                         for nic, old in zip(nics, before)]
        return Result(name, tuple(
            dataclasses.replace(row, received=count.rx_bytes,
                                sent=count.tx_bytes)
            for row, count in zip(seen, passed)), root.tx_bytes)

    def _one(self, host: lab.Host, volume: str) -> Row:
        attachment = self._attach(host, volume)
        attached = time.monotonic() - self._start
        checksum = host.call(compute.checksum, attachment.device_path,
                             self._size, timeout=_READ_TIMEOUT)
        read = time.monotonic() - self._start
        of_disks = host.call(read_bytes)
        return Row(host.name, attachment, parents_of(attachment), checksum,
                   0, 0, of_disks[False] - self._before[host][False],
                   of_disks[True] - self._before[host][True], attached, read)

    def _attach(self, host: lab.Host,
                volume: str) -> attachments.Attachment:
        """Attach as Nova does: see :meth:`initialize`."""
        attachment_id, info = self._initialize(volume,
                                               self._connectors[host])
        attachment = attachments.Attachment(
            attachment_id, volume, host, info,
            self._cloud.connect(host, info), True)
        with self._counting:
            self.attached.append(attachment)
        self._cloud.complete(attachment_id)
        return attachment

    def _initialize(self, volume: str, connector: attachments.Properties
                    ) -> tuple[str, attachments.Properties]:
        """Have Cinder export a volume, again if that fails.

        As Nova does, first an attachment that no host has is made, and it
        is deleted if the host doesn't get the volume.
        """
        deadline = time.monotonic() + attachments.TIMEOUT
        cinder = self._cinder.attachments
        while True:
            attachment_id = cinder.create(volume, None)['id']
            try:
                info = dict(cinder.update(attachment_id,
                                          connector).connection_info)
            except FAILURES:
                if time.monotonic() > deadline:
                    raise
                with self._counting:
                    self.retries += 1
                self._delete(attachment_id, deadline)
            else:
                return attachment_id, {
                    'driver_volume_type': info.pop('driver_volume_type'),
                    'data': info}

    def _delete(self, attachment_id: str, deadline: float) -> None:
        while True:
            try:
                return self._cinder.attachments.delete(attachment_id)
            except (cinder_exceptions.NotFound, keystone_exceptions.NotFound):
                return
            except FAILURES:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)


def read_bytes() -> dict[bool, int]:
    """Return what this host read of remote disks: of relays, of others."""
    read = {True: 0, False: 0}
    for path in pathlib.Path('/sys/block').glob('sd*'):
        relay = (path / 'device/model').read_text().strip() == 'relay'
        read[relay] += int((path / 'stat').read_text().split()[2]) * 512
    return read


def parents_of(attachment: attachments.Attachment) -> tuple[str, ...]:
    """Return the names of the relays that a host was told to read from."""
    paths = attachment.connection_info['data'].get(
        'template', {}).get('paths', ())
    return tuple(path['relay'] for path in paths if path.get('relay'))
