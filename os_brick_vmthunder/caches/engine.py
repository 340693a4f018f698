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

"""What layers have in common that put an engine over a template's source.

    source, read once whoever asks  ->  dm-linear, writable  ->  engine
                |                                                  |
                +------------------ else <- dm-mirror, read-only --+

Engines want a device that they may write, though nobody ever writes to what
is above them. An engine hands on the errors of its cache device; the mirror
reads the source then. It does so after every error, other than dm-multipath,
which hands on those of a disk's medium.
"""

import abc

from os_brick_vmthunder.caches import base
from os_brick_vmthunder.caches import coalescing
from os_brick_vmthunder.caches import pieces
from os_brick_vmthunder.caches import targets
from os_brick_vmthunder import conf
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import sysfs

_WRITABLE = 'vmthunder-writable-'


class Engine(base.Cache):
    """A cache layer with an engine between source and template."""

    @abc.abstractmethod
    def _put_over(self, template_id: str, source: str, size: int) -> str:
        """Put the engine over a source, or find it there.

        :param source: path of a device that may be opened for writing.
        :param size: bytes of it.
        :returns: path of a device with the same bytes.
        :raises CacheError: it can't be.
        """

    @abc.abstractmethod
    def _take_away(self, template_id: str) -> None:
        """Undo that, or what there is of it."""

    def _start(self, template_id: str, source: str, size: int) -> str:
        shared = coalescing.assemble(template_id, source, size)
        sectors = size // sysfs.SECTOR
        writable = dm.create(
            writable_name(template_id), f'VMTHUNDER-writable-{template_id}',
            [dm.Linear(0, sectors, shared)])
        cached = self._put_over(template_id, writable, size)
        return dm.create(
            _either(template_id), f'VMTHUNDER-either-{template_id}',
            [targets.Mirror(0, sectors, cached, shared)], readonly=True)

    def _stop(self, template_id: str) -> None:
        dm.remove(_either(template_id))
        self._take_away(template_id)
        dm.remove(writable_name(template_id))
        coalescing.disassemble(template_id)

    def _stats(self, template_id: str, read_bytes: int) -> base.CacheStats:
        return base.CacheStats(read_bytes, coalescing.fetched(template_id))


class OnPieces(Engine):
    """An engine that keeps each template on its own piece of the device."""

    def __init__(self, config: conf.HostConfig) -> None:
        super().__init__(config)
        self._pieces = pieces.Pieces(config)

    def templates(self) -> list[str]:
        """Return the ids of templates that have a piece."""
        return self._pieces.templates()

    def _verify(self) -> None:
        self._pieces.verify()

    def _forget(self, template_id: str) -> None:
        self._stop(template_id)  # what a crash may have left
        self._pieces.remove(template_id)

    def _clear(self) -> None:
        for template_id in self.templates():
            self._stop(template_id)
        self._pieces.destroy()


def writable_name(template_id: str) -> str:
    """Return the name of the device that an engine is put over."""
    return _WRITABLE + template_id


def attached() -> list[str]:
    """Return the ids of templates that an engine was put over."""
    return [device.name.removeprefix(_WRITABLE) for device in dm.devices()
            if device.name.startswith(_WRITABLE)]


def _either(template_id: str) -> str:
    return f'vmthunder-either-{template_id}'
