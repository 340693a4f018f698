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

"""What an assembled volume has above its origin, by snapshot mode.

    origin + diff = dm-snapshot
    origin + diff = qemu-nbd's device = dm-linear

Either is one device-mapper device of the same name, so that nobody else has
to know which it is.
"""

import abc

from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder.privileged import nbd
from os_brick_vmthunder.privileged import qcow2
from os_brick_vmthunder import sysfs

from cinder_vmthunder import diffs
from cinder_vmthunder import exception
from cinder_vmthunder.i18n import _


class Layer(abc.ABC):
    """Makes volumes of origins and diffs of one mode.

    :param volumes: the diffs.
    """

    def __init__(self, volumes: diffs.Diffs) -> None:
        self._diffs = volumes

    @abc.abstractmethod
    def build(self, diff: diffs.Diff, name: str, uuid: str,
              origin: str) -> str:
        """Make a volume's device, or make that longer which is there.

        :param name: of the device; its UUID.
        :param origin: device of the volume's origin.
        :returns: path of the device.
        :raises VMThunderException: the kernel refuses.
        :raises OSError: or ProcessExecutionError, QEMU does.
        """


class SnapshotLayer(Layer):
    """A snapshot of the kernel's."""

    def build(self, diff: diffs.Diff, name: str, uuid: str,
              origin: str) -> str:
        store = (self._diffs.activate(diff) if dm.find(name) else
                 self._diffs.mend(diff))
        path = dm.create(name, uuid, [dm.Snapshot(
            0, diff.volume_size // diffs.SECTOR, origin, store,
            chunk_sectors=diff.chunk_sectors)])
        status = dm.snapshot_status(name)
        if not status.valid:
            raise exception.AssemblyFailed(
                name=diff.name,
                reason=_('dm-snapshot says %s') % status.state)
        return path


class OverlayLayer(Layer):
    """A disk that QEMU makes of an overlay.

    QEMU's process can die, and be killed; it also has to be another one for
    a larger disk. Requests wait in the device above it meanwhile.
    """

    def build(self, diff: diffs.Diff, name: str, uuid: str,
              origin: str) -> str:
        served = nbd.served(name)
        if served is None or sysfs.size(served) < diff.volume_size:
            with dm.held(name):
                nbd.stop(name)
                served = nbd.serve(name, qcow2.node(self._diffs.mend(diff),
                                                    origin))
        return dm.remake(name, uuid, [dm.Linear(
            0, diff.volume_size // diffs.SECTOR, served)])


def make(volumes: diffs.Diffs) -> dict[connection.SnapshotMode, Layer]:
    """Return what makes volumes, by the mode of their diffs."""
    return {connection.SnapshotMode.DM: SnapshotLayer(volumes),
            connection.SnapshotMode.VMM: OverlayLayer(volumes)}


def remove(name: str) -> None:
    """Remove a volume's device, whatever it is made of.

    :param name: of the device, which need not be there.
    :raises DeviceBusy: somebody uses it.
    :raises OSError: QEMU's process doesn't end.
    """
    dm.wake(name)  # or who waits for it could never close it
    dm.remove(name)
    nbd.stop(name)
