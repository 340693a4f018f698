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

"""Device-mapper devices: tables, and making and removing them safely.

Every function may be called again after a crash. What exists is read from
the kernel; a device is known by its name and marked by its UUID.
"""

import contextlib
import dataclasses
from typing import Iterator, Optional, Protocol, Sequence

from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder.privileged import blockdev
from os_brick_vmthunder.privileged import dmsetup
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)


class Target(Protocol):
    """One line of a table; start and length are in sectors of 512 bytes."""

    @property
    def start(self) -> int: ...

    @property
    def length(self) -> int: ...

    def render(self) -> str:
        """Return the line; devices are named by number, as the kernel does.

        :raises OSError: a device that the target stands on isn't there.
        """


@dataclasses.dataclass(frozen=True)
class Linear:
    """Sectors of a device, from an offset in sectors on."""

    start: int
    length: int
    device: str
    offset: int = 0

    def render(self) -> str:
        return (f'{self.start} {self.length} linear '
                f'{sysfs.number(self.device)} {self.offset}')


@dataclasses.dataclass(frozen=True)
class Chunked:
    """Sectors of a device; no request that passes crosses a chunk's end.

    :ivar chunk_sectors: a power of two that divides the length.
    """

    start: int
    length: int
    device: str
    chunk_sectors: int

    def render(self) -> str:
        return (f'{self.start} {self.length} striped 1 {self.chunk_sectors} '
                f'{sysfs.number(self.device)} 0')


@dataclasses.dataclass(frozen=True)
class Switch:
    """Regions of sectors, in turn from devices that all hold the same.

    :ivar region_sectors: a power of two.
    """

    start: int
    length: int
    devices: tuple[str, ...]
    region_sectors: int

    def render(self) -> str:
        places = ' '.join(f'{sysfs.number(device)} 0'
                          for device in self.devices)
        return (f'{self.start} {self.length} switch {len(self.devices)} '
                f'{self.region_sectors} 0 {places}')


@dataclasses.dataclass(frozen=True)
class Failover:
    """Sectors of the first device; of the next once that fails a request.

    It is the kernel's multipath, but nothing of multipathd's.

    :ivar devices: all hold the same.
    """

    start: int
    length: int
    devices: tuple[str, ...]

    def render(self) -> str:
        groups = ' '.join(
            f'service-time 0 1 2 {sysfs.number(device)} 1 1'
            for device in self.devices)
        return (f'{self.start} {self.length} multipath 2 queue_mode bio 0 '
                f'{len(self.devices)} 1 {groups}')


@dataclasses.dataclass(frozen=True)
class Zero:
    """Zeroes."""

    start: int
    length: int

    def render(self) -> str:
        return f'{self.start} {self.length} zero'


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Writable view of an origin whose changes go to another device.

    :ivar cow: the device that takes what is written.
    :ivar chunk_sectors: the unit of copying; what the store itself says wins.
    :ivar persistent: the store outlives the device.
    """

    start: int
    length: int
    origin: str
    cow: str
    chunk_sectors: int
    persistent: bool = True

    def render(self) -> str:
        return (f'{self.start} {self.length} snapshot '
                f'{sysfs.number(self.origin)} {sysfs.number(self.cow)} '
                f'{"P" if self.persistent else "N"} {self.chunk_sectors}')


@dataclasses.dataclass(frozen=True)
class Device:
    """A device-mapper device.

    :ivar kernel: the kernel's name, as 'dm-3'.
    :ivar uuid: what marks whose it is; empty if it has none.
    :ivar suspended: it lets no request pass.
    """

    name: str
    kernel: str
    uuid: str
    suspended: bool

    @property
    def path(self) -> str:
        return path_of(self.name)


@dataclasses.dataclass(frozen=True)
class SnapshotStatus:
    """State of a snapshot.

    :ivar state: 'valid', or what the kernel says instead, as 'Invalid'.
    :ivar used: sectors of the store in use, metadata included.
    :ivar total: sectors of the store.
    :ivar metadata: sectors in use for metadata.
    """

    state: str
    used: int = 0
    total: int = 0
    metadata: int = 0

    @property
    def valid(self) -> bool:
        return self.state == 'valid'


def padded(device: str, filled: int, length: int) -> list[Target]:
    """Return the table of a device's beginning with zeroes behind it.

    :param filled: sectors of the device.
    :param length: sectors of all.
    """
    filled = min(filled, length)
    table: list[Target] = [Linear(0, filled, device)]
    return table + ([Zero(filled, length - filled)]
                    if length > filled else [])


def path_of(name: str) -> str:
    """Return the path of the device of a name."""
    return f'/dev/mapper/{name}'


def devices() -> Iterator[Device]:
    """Yield all device-mapper devices of this host."""
    for kernel in sysfs.names('dm-'):
        name = sysfs.attribute(kernel, 'dm', 'name')
        if name:
            yield Device(
                name, kernel, sysfs.attribute(kernel, 'dm', 'uuid') or '',
                sysfs.attribute(kernel, 'dm', 'suspended') == '1')


def find(name: str) -> Optional[Device]:
    """Return the device of a name, if there is one."""
    return next((device for device in devices() if device.name == name),
                None)


def find_uuid(uuid: str) -> Optional[str]:
    """Return the kernel's path, as '/dev/dm-3', of the device of a UUID."""
    return next((f'/dev/{device.kernel}' for device in devices()
                 if device.uuid == uuid), None)


def name_of(device: str) -> str:
    """Return the device-mapper name of a device.

    :param device: any path of the device.
    :raises DeviceMapperError: it is no device-mapper device.
    """
    try:
        name = sysfs.read(f'{sysfs.directory(device)}/dm/name')
    except OSError:
        name = None
    if not name:
        raise exception.DeviceMapperError(
            action='find', device=device,
            reason=_('it is not a device-mapper device'))
    return name


def table(name: str) -> str:
    """Return the table that a device works by; empty if it has none yet.

    :raises DeviceMapperError: there is no such device.
    """
    try:
        return dmsetup.table(name)
    except (processutils.ProcessExecutionError, OSError) as error:
        raise _failure('read the table of', name, error) from error


def snapshot_status(name: str) -> SnapshotStatus:
    """Return the state of a snapshot.

    :raises DeviceMapperError: there is no such device, or it's no snapshot.
    """
    try:
        words = dmsetup.status(name).split()
    except (processutils.ProcessExecutionError, OSError) as error:
        raise _failure('read the status of', name, error) from error
    if len(words) < 4 or words[2] != 'snapshot':
        raise exception.DeviceMapperError(
            action='read the status of', device=name,
            reason=_('it is no snapshot'))
    used, slash, total = words[3].partition('/')
    if not slash:
        return SnapshotStatus(' '.join(words[3:]))
    return SnapshotStatus('valid', int(used), int(total),
                          int(words[4]) if len(words) > 4 else 0)


def create(name: str, uuid: str, targets: Sequence[Target],
           readonly: bool = False) -> str:
    """Make a device, or find that it is there.

    A device that is the start of what is asked for is made longer, also
    while it is used. Any other of this name goes first, unless it is used: a
    crash may have left it without a table, or with one over devices that are
    gone.

    :param uuid: 'VMTHUNDER-<kind>-<id>'.
    :param targets: the lines of its table, in order.
    :returns: its path; the node is there.
    :raises DeviceBusy: another device of this name is in use.
    :raises DeviceMapperError: the kernel refuses it.
    """
    wanted = _rendered(name, targets)
    device = find(name)
    there = _lines(name) if device and device.uuid == uuid else []
    if device and there and _begins(there, wanted):
        if there != wanted or device.suspended:
            _reload(device, wanted)
    else:
        if device is not None:
            LOG.info('Device %s is not as it should be; it is made again',
                     name)
            remove(name)
        try:
            dmsetup.create(name, uuid, '\n'.join(wanted), readonly)
        except (processutils.ProcessExecutionError, OSError) as error:
            raise _failure('create', name, error) from error
    _wait_for_node(name)
    return path_of(name)


def length(name: str) -> int:
    """Return a device's length in sectors; 0 if it isn't there."""
    device = find(name)
    if device is None:
        return 0
    return int(sysfs.attribute(device.kernel, 'size') or 0)


def lengthen(name: str, length: int) -> None:
    """Make a device longer by its last target, while it is used.

    :param length: of the device, in sectors; it never gets shorter.
    :raises DeviceMapperError: there is no such device, or the kernel
        refuses; the device works on as it was.
    """
    device = find(name)
    lines = _lines(name)
    if device is None or not lines:
        raise exception.DeviceMapperError(
            action='lengthen', device=name, reason=_('it is not there'))
    start, there, *rest = lines.pop().split()
    if int(start) + int(there) < length or device.suspended:
        length = max(length, int(start) + int(there))
        _reload(device, [
            *lines, ' '.join([start, str(length - int(start)), *rest])])


@contextlib.contextmanager
def held(name: str) -> Iterator[None]:
    """Let no request pass while a device gets another table.

    Who uses it waits: :func:`remake` ends that. So does a failure, by the
    table that was there. It is all right if there is no such device.
    """
    device = find(name)
    try:
        if device and not device.suspended:
            dmsetup.suspend(name)
    except (processutils.ProcessExecutionError, OSError) as error:
        raise _failure('suspend', name, error) from error
    try:
        yield
    except Exception:
        wake(name)
        raise


def remake(name: str, uuid: str, targets: Sequence[Target]) -> str:
    """Make a device, or give it another table, also while it is used.

    Other than by :func:`create`, what it stands on may be another device.

    :returns: its path; the node is there.
    :raises DeviceMapperError: the kernel refuses it.
    """
    device = find(name)
    lines = _lines(name) if device else []
    if device is None or not lines:
        return create(name, uuid, targets)
    wanted = _rendered(name, targets)
    if lines != wanted or device.suspended:
        _reload(device, wanted)
    return path_of(name)


def wake(name: str) -> None:
    """Let a device that a crash left suspended work by the table it has."""
    device = find(name)
    if device is None or not device.suspended:
        return
    try:
        dmsetup.clear(name)
        dmsetup.resume(name)
    except (processutils.ProcessExecutionError, OSError) as error:
        LOG.warning('%s', _failure('resume', name, error))


def remove(name: str) -> None:
    """Remove a device; it is all right if it isn't there.

    :raises DeviceBusy: something has it open; it stays as it is.
    :raises DeviceMapperError: the kernel refuses.
    """
    device = find(name)
    if device is None:
        return
    users = _holders(device.kernel)
    if users:
        raise exception.DeviceBusy(device=device.path,
                                   users=', '.join(users))
    try:
        dmsetup.remove(name)
    except (processutils.ProcessExecutionError, OSError) as error:
        if find(name) is None:
            return
        users = (_holders(device.kernel) or
                 blockdev.openers(f'/dev/{device.kernel}'))
        if users or 'busy' in str(error).lower():
            raise exception.DeviceBusy(
                device=device.path,
                users=', '.join(users) or _('an unknown process')) from error
        raise _failure('remove', name, error) from error


def holders(device: str) -> list[str]:
    """Return the names of the devices that stand on a device.

    :param device: any path of it.
    """
    try:
        return _holders(sysfs.kernel_name(device))
    except OSError:
        return []


def _holders(kernel: str) -> list[str]:
    return [sysfs.attribute(holder, 'dm', 'name') or holder
            for holder in sysfs.listing(kernel, 'holders')]


def _rendered(name: str, targets: Sequence[Target]) -> list[str]:
    try:
        return [target.render() for target in targets]
    except OSError as error:
        raise _failure('create', name, error) from error


def _lines(name: str) -> list[str]:
    return [line.strip() for line in table(name).strip().splitlines()]


def _begins(there: list[str], wanted: list[str]) -> bool:
    """Tell whether a table is the start of another, or all of it."""
    last = len(there) - 1
    if there[:last] != wanted[:last] or last >= len(wanted):
        return False
    start, length, *rest = there[last].split()
    wanted_start, wanted_length, *wanted_rest = wanted[last].split()
    return ([start, *rest] == [wanted_start, *wanted_rest] and
            int(length) <= int(wanted_length))


def _reload(device: Device, lines: list[str]) -> None:
    """Give a device another table; who uses it waits for a moment.

    Who dies here leaves a device that works by either table.
    """
    readonly = sysfs.attribute(device.kernel, 'ro') == '1'
    try:
        # One that a crash left: the kernel hands a snapshot's store over
        # from one table to one other.
        dmsetup.clear(device.name)
        dmsetup.load(device.name, '\n'.join(lines), readonly)
        dmsetup.resume(device.name)
    except (processutils.ProcessExecutionError, OSError) as error:
        # The kernel sees only when resuming that a table doesn't fit. Then
        # it drops it, and the device is suspended.
        wake(device.name)
        raise _failure('change', device.name, error) from error


def _wait_for_node(name: str) -> None:
    """Wait until udev (or dmsetup itself) has made the device's node."""

    def there() -> bool:
        device = find(name)
        try:
            return (device is not None and
                    sysfs.kernel_name(device.path) == device.kernel)
        except OSError:
            return False

    if not sysfs.wait(there):
        raise exception.DeviceMapperError(
            action='create', device=name,
            reason=_('its node %s did not appear; check that udevd runs') %
            path_of(name))


def _failure(action: str, name: str,
             error: Exception) -> exception.DeviceMapperError:
    reason = getattr(error, 'stderr', None) or str(error)
    return exception.DeviceMapperError(action=action, device=name,
                                       reason=reason.strip())
