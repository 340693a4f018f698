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

"""What a volume is on its host, in whichever snapshot mode.

    cached template = origin
    origin, diff LUN = /dev/mapper/vmthunder-<volume id>

What is there is made longer, also while it is used, and never shorter.
"""

import abc
from typing import Optional

from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder import sysfs

_PREFIX = 'vmthunder-'


class VolumeDevice(abc.ABC):
    """A volume's device, and its origin.

    Its name and its origin's are the same on every host.
    """

    def __init__(self, volume: connection.Connection) -> None:
        self._volume = volume
        self._name = _PREFIX + volume.volume_id
        self._origin_name = f'{self._name}-origin'

    @property
    def path(self) -> str:
        return dm.path_of(self._name)

    @property
    def info(self) -> dict[str, str]:
        """What os-brick tells its user of the volume."""
        return {'type': 'block', 'path': self.path}

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Bytes of the volume, 0 if its device isn't there."""

    def find(self) -> Optional[str]:
        """Return the volume's device if it is there and sound."""
        return None if dm.find(self._name) is None else self.path

    @abc.abstractmethod
    def claim(self, cached: str) -> None:
        """Make the volume's origin: from now on the host stack stays.

        :param cached: device of the cached template.
        """

    def fits(self, diff: str) -> bool:
        """Tell whether a diff can hold all of the volume.

        :param diff: multipath map of it.
        """
        return self._holds(diff, self._volume.volume_size)

    @abc.abstractmethod
    def create(self, cached: str, diff: str) -> str:
        """Make the volume's device, or make it as long as it should be.

        The connection may be older than the volume's last extension: the
        diff tells what it was made for.

        :param cached: device of the cached template.
        :param diff: multipath map of the volume's diff.
        :returns: path of the volume's device.
        :raises DiffTooSmall: the diff can't hold all of the volume.
        """

    @abc.abstractmethod
    def grow(self) -> None:
        """See that its next user finds the volume as long as it is.

        Nobody may have it open, on any host.
        """

    def remove(self) -> None:
        """Remove the volume's device; its data stays in the diff.

        :raises DeviceBusy: something still has it open.
        """
        names = self._name, self._origin_name
        for name in names:  # or who waits for it could never close it
            dm.wake(name)
        for name in names:
            dm.remove(name)

    @property
    def _template(self) -> int:
        """Sectors of the template."""
        return self._volume.template.size // connection.SECTOR

    @property
    def _chunk(self) -> int:
        """Bytes of the diff's unit."""
        return self._volume.diff.chunk_sectors * connection.SECTOR

    @abc.abstractmethod
    def _store_size(self, size: int) -> int:
        """Return the bytes of a diff that can hold a volume of some size."""

    def _holds(self, diff: str, size: int) -> bool:
        return sysfs.size(diff) >= self._store_size(size)

    def _check_holds(self, diff: str, size: int) -> None:
        if not self._holds(diff, size):
            raise exception.DiffTooSmall(volume=self._volume.volume_id,
                                         there=sysfs.size(diff), size=size)

    def _uuid(self, kind: str) -> str:
        return f'VMTHUNDER-{kind}-{self._volume.volume_id}'
