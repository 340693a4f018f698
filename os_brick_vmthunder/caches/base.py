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

"""The interface of a cache layer.

A layer makes, of a template's read-only device, another with the same bytes
whose reads it remembers. Callers hold the host's lock on the template; calls
for different templates may run at once. A call cut anywhere may be made
again.
"""

import abc
import contextlib
import dataclasses
from typing import ClassVar, Iterator, Optional

from os_brick_vmthunder.caches import needs
from os_brick_vmthunder import conf
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder import sysfs

#: A request that crosses a multiple of this many sectors is split there: as
#: snapshots split guests' by default. Of requests that come at once bcache
#: keeps what two bring that are alike, not what two bring that overlap.
CHUNK_SECTORS = 32

_PREFIX = 'vmthunder-template-'


@dataclasses.dataclass(frozen=True)
class CacheStats:
    """What was read of a template since it was attached to this host.

    :ivar read_bytes: bytes that were asked for.
    :ivar fetched_bytes: bytes of them that came from the source; with what
        the layer itself reads, some KiB.
    :ivar hits: requests answered by the layer; it counts them with a delay
        of some seconds, as the next two.
    :ivar misses: requests that went to the source, wholly or in part.
    :ivar bypassed: requests that the layer let pass without keeping them.
    """

    read_bytes: int
    fetched_bytes: int
    hits: int = 0
    misses: int = 0
    bypassed: int = 0


@dataclasses.dataclass(frozen=True)
class Promises:
    """What a layer promises of what is read here.

    :ivar kept_at_first_touch: what was read once is not read over the
        network again.
    :ivar kept_after_reboot: what was kept is still kept after the host was
        started again, even by a power cut; but for what was kept since
        :meth:`Cache.settle`, or in the last half minute.
    :ivar shared: the room is for all templates, as they need it; otherwise
        each has its own.
    """

    kept_at_first_touch: bool
    kept_after_reboot: bool
    shared: bool


class Ahead:
    """What a layer does about reads of a template that are known before.

    This one does nothing: what the layer lacks, it asks for when it is read.
    """

    @contextlib.contextmanager
    def of(self, offset: int, length: int) -> Iterator[None]:
        """Have the source read ahead of what is read meanwhile.

        :param offset: in bytes.
        :param length: in bytes.
        :raises OSError: the source can't be read.
        """
        yield


class Cache(abc.ABC):
    """A cache layer on this host.

    :cvar PROMISES: what it promises.
    :cvar NEEDS: what it needs.
    """

    PROMISES: ClassVar[Promises]
    NEEDS: ClassVar[needs.Needs] = needs.Needs()

    def __init__(self, config: conf.HostConfig) -> None:
        self._config = config

    def verify(self) -> None:
        """Check that the layer can work here, without touching any device.

        :raises ConfigurationError: it can't; says what to do.
        """
        lacking = self.NEEDS.lacking()
        if lacking:
            raise exception.ConfigurationError(reason=_(
                'cache layer %(layer)s does not work here: %(lacking)s, or '
                'set cache = none in %(file)s.') % {
                    'layer': self._config.cache, 'lacking': lacking,
                    'file': self._config.file})
        self._verify()

    def device(self, template_id: str) -> Optional[str]:
        """Return a template's cached device if it is attached."""
        device = dm.find(_name(template_id))
        if (device is None or device.suspended or
                sysfs.attribute(device.kernel, 'size') in (None, '0')):
            return None
        return device.path

    def attach(self, template_id: str, source: str, size: int) -> str:
        """Make a template's cached device, or find it.

        :param template_id: UUID.
        :param source: path of the read-only device to cache.
        :param size: bytes of it to cache, a multiple of 512.
        :returns: path of the cached device, which is read-only and has
            exactly that size.
        :raises CacheError: it can't be made; says why.
        """
        device = self.device(template_id)
        if device is not None:
            return device
        self.detach(template_id)  # what a crash may have left
        if sysfs.size(source) < size:
            raise exception.CacheError(cache=self._config.cache, reason=_(
                '%(source)s has %(there)d bytes, template %(template)s has '
                '%(size)d; attach the volume again') % {
                    'source': source, 'there': sysfs.size(source),
                    'template': template_id, 'size': size})
        below = self._start(template_id, source, size)
        return dm.create(_name(template_id),
                         f'VMTHUNDER-template-{template_id}',
                         _table(below, size // sysfs.SECTOR), readonly=True)

    def detach(self, template_id: str) -> None:
        """Take a template's cached device down; what it kept stays.

        :raises DeviceBusy: something stands on it; it stays.
        :raises CacheError: it doesn't go.
        """
        dm.remove(_name(template_id))
        self._stop(template_id)

    def stats(self, template_id: str) -> Optional[CacheStats]:
        """Return what was read of a template, None if it isn't attached."""
        device = dm.find(_name(template_id))
        if device is None:
            return None
        return self._stats(template_id, sysfs.read_bytes(device.kernel))

    def forget(self, template_id: str) -> None:
        """Drop what was kept of a template.

        :raises DeviceBusy: it is attached.
        """
        self._refuse_attached(template_id)
        self._forget(template_id)

    def clear(self) -> None:
        """Drop what was kept of all templates, and where it was kept.

        :raises DeviceBusy: a template is attached.
        """
        for device in list(dm.devices()):
            if device.name.startswith(_PREFIX):
                self._refuse_attached(device.name.removeprefix(_PREFIX))
        self._clear()

    def settle(self, template_id: str) -> None:
        """See to it that what was kept so far outlives a power cut.

        To be called now and then. It is all right if the template isn't
        attached, or goes just now.
        """

    def ahead(self, template_id: str) -> Ahead:
        """Return what is to be told of reads that are known before."""
        return Ahead()

    @abc.abstractmethod
    def templates(self) -> list[str]:
        """Return the ids of templates of which something may be kept."""

    def _verify(self) -> None:
        """Check how the layer is set up; all it needs is there."""

    @abc.abstractmethod
    def _start(self, template_id: str, source: str, size: int) -> str:
        """Return the path of a device with the source's bytes."""

    @abc.abstractmethod
    def _stop(self, template_id: str) -> None:
        """Undo :meth:`_start`, or what there is of it."""

    @abc.abstractmethod
    def _stats(self, template_id: str, read_bytes: int) -> CacheStats:
        """Return the statistics of an attached template."""

    def _forget(self, template_id: str) -> None:
        """Drop what was kept of a template that isn't attached."""

    def _clear(self) -> None:
        """Drop everything; no template is attached."""

    def _refuse_attached(self, template_id: str) -> None:
        if dm.find(_name(template_id)) is not None:
            path = dm.path_of(_name(template_id))
            users = dm.holders(path) or [_('this host')]
            raise exception.DeviceBusy(device=path, users=', '.join(users))


def _name(template_id: str) -> str:
    return _PREFIX + template_id


def _table(device: str, length: int) -> list[dm.Target]:
    chunked = length - length % CHUNK_SECTORS
    targets: list[dm.Target] = []
    if chunked:
        targets.append(dm.Chunked(0, chunked, device, CHUNK_SECTORS))
    if length > chunked:
        targets.append(dm.Linear(chunked, length - chunked, device, chunked))
    return targets
