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

"""What a diff's LV holds, by snapshot mode.

A store tells by its size alone how large a volume it was made for, and gets
more room without being looked at. All sizes are in bytes.
"""

import abc

from os_brick_vmthunder import connection
from os_brick_vmthunder import exceptionstore
from os_brick_vmthunder import overlaystore
from os_brick_vmthunder.privileged import blockdev
from os_brick_vmthunder.privileged import qcow2
from os_brick_vmthunder.privileged import snapshotheader
from oslo_log import log as logging

from cinder_vmthunder import exception

LOG = logging.getLogger(__name__)


class Store(abc.ABC):
    """The bytes of diffs of one mode."""

    @abc.abstractmethod
    def chunk(self, configured: int) -> int:
        """Return the unit in which a new store takes room.

        :param configured: what the backend's option says.
        """

    @abc.abstractmethod
    def size(self, volume_size: int, chunk: int) -> int:
        """Return the size of a store in which a whole volume fits."""

    @abc.abstractmethod
    def volume_size(self, size: int, chunk: int) -> int:
        """Return the size of the volume that a store was made for."""

    @abc.abstractmethod
    def format(self, device: str, template_id: str,
               volume_size: int) -> None:
        """Make a store of a device whose first chunk is zero.

        :raises OSError: or ProcessExecutionError, it can't be written.
        """

    @abc.abstractmethod
    def mend(self, device: str, volume_size: int) -> None:
        """Make a store fit for use, which nobody has.

        Both an extension and a crash leave something to do.

        :raises OSError: or ProcessExecutionError, it can't be read or
            written.
        :raises OverlayDamaged: nor be made fit.
        """


class SnapshotStore(Store):
    """What device-mapper keeps of a snapshot."""

    def chunk(self, configured: int) -> int:
        return configured

    def size(self, volume_size: int, chunk: int) -> int:
        return exceptionstore.store_size(volume_size, chunk)

    def volume_size(self, size: int, chunk: int) -> int:
        return exceptionstore.volume_size(size, chunk)

    def format(self, device: str, template_id: str,
               volume_size: int) -> None:
        """Leave it to the kernel, which writes a header when it finds none.
        """

    def mend(self, device: str, volume_size: int) -> None:
        """Take back that the kernel gave a snapshot up for ever.

        It does that when its store had an error, as when the thin pool was
        full, and the volume would be lost.
        """
        if snapshotheader.make_valid(device):
            LOG.warning('The snapshot on %s had been given up after an I/O '
                        'error; it works again, with all that was written '
                        'before the error.', device)


class OverlayStore(Store):
    """A qcow2 overlay, which the hypervisor makes a snapshot with."""

    def chunk(self, configured: int) -> int:
        return overlaystore.CLUSTER

    def size(self, volume_size: int, chunk: int) -> int:
        return overlaystore.store_size(volume_size, chunk)

    def volume_size(self, size: int, chunk: int) -> int:
        return overlaystore.volume_size(size, chunk)

    def format(self, device: str, template_id: str,
               volume_size: int) -> None:
        """Name as backing file what can't be opened.

        Who doesn't say what is below the overlay shall fail, and not read
        zeroes.
        """
        qcow2.create(device, volume_size, f'vmthunder:{template_id}',
                     overlaystore.OPTIONS)
        blockdev.flush(device)

    def mend(self, device: str, volume_size: int) -> None:
        """Give it the volume's size; take back what crashes leaked."""
        size, is_empty = qcow2.look(device)
        if size < volume_size:
            qcow2.resize(device, volume_size)
        if not is_empty and not qcow2.repair(device):
            raise exception.OverlayDamaged(name=device)


BY_MODE: dict[connection.SnapshotMode, Store] = {
    connection.SnapshotMode.DM: SnapshotStore(),
    connection.SnapshotMode.VMM: OverlayStore()}
