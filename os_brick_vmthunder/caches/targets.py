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

"""Targets of device-mapper that only cache layers use."""

import dataclasses

from os_brick_vmthunder import sysfs

# How much the mirror looks at together; it is never out of step.
_REGION_SECTORS = 1024
# How much dm-cache may copy at once. The copies cost nothing on the network:
# they are in the page cache still.
_MIGRATION_SECTORS = 131072


@dataclasses.dataclass(frozen=True)
class Mirror:
    """Sectors of the first device; of the second once that fails a request.

    Whatever the error, the request is read again from the second, and from
    then on all are. Nothing may be written.
    """

    start: int
    length: int
    first: str
    second: str

    def render(self) -> str:
        places = ' '.join(f'{sysfs.number(device)} 0'
                          for device in (self.first, self.second))
        return (f'{self.start} {self.length} mirror core 2 '
                f'{_REGION_SECTORS} nosync 2 {places} 1 handle_errors')


@dataclasses.dataclass(frozen=True)
class Cache:
    """Sectors of an origin, some of them kept on another device.

    :ivar metadata: the device that says which; it may have zeroes at its
        start, which makes it anew.
    :ivar data: the device that they are kept on.
    :ivar block_sectors: what is kept at once.
    """

    start: int
    length: int
    metadata: str
    data: str
    origin: str
    block_sectors: int

    def render(self) -> str:
        devices = ' '.join(sysfs.number(device) for device in (
            self.metadata, self.data, self.origin))
        return (f'{self.start} {self.length} cache {devices} '
                f'{self.block_sectors} 2 metadata2 writethrough '
                f'smq 2 migration_threshold {_MIGRATION_SECTORS}')
