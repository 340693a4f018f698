# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Attaching volumes to lab hosts, as Nova does: Cinder's and the host's part.

`attach` and `detach` do everything. Tests that want a fault in between take
the single steps: connector_properties, initialize, connect, complete;
disconnect, terminate.
"""

import dataclasses
import typing

from tests.lab import brick
from tests.lab.controlplane import client
from tests.lab import host as lab_host

Properties = dict[str, typing.Any]
# Many forks on a busy host; connect_volume alone takes up to 20 s.
TIMEOUT = 300


@dataclasses.dataclass(frozen=True)
class Attachment:
    """A volume on a host.

    :ivar id: Cinder's id of it.
    :ivar connection_info: what Cinder said, as Nova stores it: a dict of
        driver_volume_type and data.
    :ivar device_info: what os-brick's connect_volume returned.
    """

    id: str
    volume_id: str
    host: lab_host.Host
    connection_info: Properties
    device_info: Properties
    multipath: bool

    @property
    def device_path(self) -> str:
        """The device on the host."""
        return str(self.device_info['path'])


class Attachments(client.Client):
    """The client's part that needs hosts."""

    def attach(self, host: lab_host.Host, volume_id: str,
               multipath: bool = True,
               server_id: str | None = None) -> Attachment:
        """Attach a volume to a host.

        Where the host can't connect it, Cinder's side is undone again.

        :param server_id: whose volume it is to be; any UUID.
        """
        connector = self.connector_properties(host, multipath)
        attachment_id, info = self.initialize(volume_id, connector, server_id)
        try:
            device_info = self.connect(host, info, multipath)
        except Exception:
            self.terminate(attachment_id)
            raise
        self.complete(attachment_id)
        return Attachment(attachment_id, volume_id, host, info,
                          device_info, multipath)

    def detach(self, attachment: Attachment) -> None:
        """Detach a volume from its host."""
        self.disconnect(attachment.host, attachment.connection_info,
                        attachment.device_info, attachment.multipath)
        self.terminate(attachment.id)
        self.wait_for_volume(attachment.volume_id)

    def connector_properties(self, host: lab_host.Host,
                             multipath: bool = True) -> Properties:
        """What os-brick on the host says of it."""
        host.preload(*brick.MODULES)
        properties: Properties = host.call(
            brick.connector_properties, host.address, multipath,
            timeout=TIMEOUT)
        return properties

    def initialize(self, volume_id: str, connector: Properties,
                   server_id: str | None = None) -> tuple[str, Properties]:
        """Have Cinder export a volume to a connector.

        :returns: the attachment's id, and its connection_info.
        """
        attachment = self.volumes.attachments.create(
            volume_id, connector, server_id)
        data = dict(attachment['connection_info'])
        return attachment['id'], {
            'driver_volume_type': data.pop('driver_volume_type'),
            'data': data}

    def connect(self, host: lab_host.Host, connection_info: Properties,
                multipath: bool = True) -> Properties:
        """Have the host connect what Cinder exported to it."""
        host.preload(*brick.MODULES)
        device_info: Properties = host.call(
            brick.connect, connection_info['driver_volume_type'],
            connection_info['data'], multipath, timeout=TIMEOUT)
        return device_info

    def complete(self, attachment_id: str) -> None:
        """Tell Cinder that the host has the volume now."""
        self.volumes.attachments.complete(attachment_id)

    def disconnect(self, host: lab_host.Host, connection_info: Properties,
                   device_info: Properties | None, multipath: bool = True,
                   force: bool = False) -> None:
        """Have the host give the volume up."""
        host.preload(*brick.MODULES)
        host.call(brick.disconnect, connection_info['driver_volume_type'],
                  connection_info['data'], device_info, multipath,
                  force=force, timeout=TIMEOUT)

    def terminate(self, attachment_id: str) -> None:
        """Have Cinder end the export."""
        self.volumes.attachments.delete(attachment_id)
