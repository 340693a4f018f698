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

"""Records the boots of this host's guests and compares them with profiles.

Each boot is watched, as long as another of the same template isn't. One that
isn't foretold makes a new profile, and so does one that tells the same more
closely; Cinder hears of it when this host attaches its next volume.
"""

import dataclasses
from typing import Iterator

from oslo_log import log as logging

from os_brick_vmthunder import devicemapper
from os_brick_vmthunder import dmstats
from os_brick_vmthunder import exception
from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder import profile as profiles
from os_brick_vmthunder import recorder
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

#: Who reads less doesn't boot, in bytes: somebody looks what there is.
LEAST = 2 << 20
#: How many boots are watched at once. Each takes memory.
MOST_RECORDINGS = 2

_ORIGIN, _TEMPLATE = 'VMTHUNDER-origin-', 'VMTHUNDER-template-'


@dataclasses.dataclass(frozen=True)
class Origin:
    """An origin that a volume of this host stands on.

    :ivar kernel: the kernel's name of it, which tells it from one that is
        made later by its name.
    :ivar size: bytes of the template.
    """

    kernel: str
    name: str
    template_id: str
    size: int


class Recorder:
    """Watches what guests read of the origins that are made from now on.

    What was there before the agent started may have been read already.
    """

    def __init__(self) -> None:
        self._known: set[Origin] | None = None
        self._running: dict[Origin, recorder.Recording] = {}

    def look(self) -> None:
        """See what is new, and what was read."""
        there = set(_origins())
        if self._known is None:
            for origin in there:
                dmstats.end_all(origin.name)
            self._known = there
        for origin in there - self._known:
            self._begin(origin)
        self._known = there
        for origin, recording in list(self._running.items()):
            try:
                self._look(origin, recording)
            except exception.DeviceMapperError as error:
                # the volume went before its boot was over
                LOG.debug('%s', error)
                del self._running[origin]

    def _begin(self, origin: Origin) -> None:
        if len(self._running) >= MOST_RECORDINGS or any(
                other.template_id == origin.template_id
                for other in self._running):
            return
        try:
            self._running[origin] = recorder.Recording(
                origin.kernel, origin.name, origin.size,
                _foretold(origin.template_id, origin.size))
        except exception.DeviceMapperError as error:
            LOG.warning('%s', error)
            dmstats.end_all(origin.name)  # what of it was begun

    def _look(self, origin: Origin, recording: recorder.Recording) -> None:
        recording.look()
        if not recording.is_over and not recording.is_vain:
            return
        read = recording.read() if recording.is_over else None
        recording.end()
        del self._running[origin]
        if read:
            judge(origin.template_id, read)


def judge(template_id: str, read: profiles.Profile) -> None:
    """Keep what a boot has read, unless it was foretold.

    :param read: it.
    """
    if read.bytes < LEAST:
        return
    known = _foretold(template_id, read.size)
    recorded = hostprofiles.recorded.read(template_id)
    ours = _parsed(recorded.text if recorded else '', read.size)
    if any(profile and profile.matches(read) and not read.refines(profile)
           for profile in (known, ours)):
        return
    LOG.info('A boot of template %(id)s was recorded, which has read '
             '%(size)d MiB in areas of %(area)d KiB; %(what)s', {
                 'id': template_id, 'size': read.bytes // profiles.MIB,
                 'area': read.area >> 10,
                 'what': f'its profile names {known.bytes // profiles.MIB} '
                 f'MiB in areas of {known.area >> 10} KiB' if known else
                 'it had no profile'})
    hostprofiles.recorded.write(template_id, hostprofiles.Recorded(
        read.to_text(), known.digest if known else ''))


def _foretold(template_id: str, size: int) -> profiles.Profile | None:
    foretold = hostprofiles.foretold.read(template_id)
    return _parsed(foretold.text if foretold else '', size)


def _parsed(text: str, size: int) -> profiles.Profile | None:
    try:
        return profiles.Profile.parse(text, size) if text else None
    except exception.InvalidProfile as error:
        LOG.warning('%s', error)
        return None


def _origins() -> Iterator[Origin]:
    devices = {device.kernel: device for device in devicemapper.devices()}
    for device in devices.values():
        if not device.uuid.startswith(_ORIGIN):
            continue
        for slave in sysfs.listing(device.kernel, 'slaves'):
            below = devices.get(slave)
            if below and below.uuid.startswith(_TEMPLATE):
                yield Origin(
                    device.kernel, device.name,
                    below.uuid.removeprefix(_TEMPLATE),
                    int(sysfs.attribute(slave, 'size') or 0) * sysfs.SECTOR)
