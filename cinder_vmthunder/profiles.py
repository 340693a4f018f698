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

"""Profiles of templates: what guests read of them when they boot.

Hosts record them and announce them with the next volume that they attach.
Each is kept in a small LV beside its template, which goes with it. The first
one stays, until a host says that a boot had not much to do with it.

Nothing is lost with a profile but time. So what is half written counts as
none, and no volume fails for one.
"""

import hashlib
import re

from os_brick_vmthunder import announcement
from os_brick_vmthunder import exception as brick_exception
from os_brick_vmthunder.privileged import blockdev
from os_brick_vmthunder import profile as profiles
from oslo_log import log as logging
from oslo_utils import uuidutils

from cinder_vmthunder import locks
from cinder_vmthunder import templates
from cinder_vmthunder import volumegroup

LOG = logging.getLogger(__name__)

_TAGS = {templates.PROFILE_TAG: ''}
# What the LV begins with: what the text behind it has to be like.
_HEADER = re.compile(rb'vmthunder profile (\d{1,6}) ([0-9a-f]{64})\n')
# Whole blocks of any disk; text and header have room.
_ROOM = 16 << 10


class Profiles:
    """The profiles of a volume group's templates.

    :param group: the volume group.
    """

    def __init__(self, group: volumegroup.VolumeGroup) -> None:
        self._group = group
        # Templates whose profile need not be looked for among LVs that have
        # no device: after a reboot some might have none.
        self._looked_for: set[str] = set()

    def get(self, template_id: str, size: int) -> profiles.Profile | None:
        """Return a template's profile, if there is a sound one.

        :param size: bytes of the template.
        """
        try:
            device = self._find(template_id)
            return _read(device, size) if device else None
        except Exception:
            LOG.exception('The profile of template %s could not be read.',
                          template_id)
            return None

    def hear(self, host: announcement.Announcement | None
             ) -> tuple[str, ...]:
        """Keep what a host has recorded, if there is a use for it.

        The caller holds no template's lock.

        :returns: digests of those profiles that the host need not announce
            again.
        """
        heard = []
        for recorded in (host.profiles or ()) if host else ():
            try:
                if self._hear(recorded):
                    heard.append(profiles.digest(recorded.text))
            except Exception:
                LOG.exception('A profile of template %s could not be kept.',
                              recorded.template_id)
        return tuple(heard)

    def collect(self, volumes: list[volumegroup.LogicalVolume]) -> None:
        """Remove the profiles of templates that somebody was killed over.

        Nothing is raised: what fails now is tried at the next call.

        :param volumes: all LVs of the group.
        """
        for name in templates.widowed_profiles(volumes):
            try:
                self._group.delete(name)
            except Exception:
                LOG.exception('Could not tidy up LV %s; trying again later.',
                              name)

    def _hear(self, recorded: announcement.RecordedProfile) -> bool:
        """Return whether it is of a template that is here."""
        if not uuidutils.is_uuid_like(recorded.template_id):
            return False
        with locks.template_lock(recorded.template_id):
            volume = self._group.get(templates.name_of(recorded.template_id))
            template = volume and templates.parse(volume)
            if not template:
                return False
            try:
                new = profiles.Profile.parse(recorded.text, template.size)
            except brick_exception.InvalidProfile as error:
                LOG.warning('Template %(id)s: %(error)s',
                            {'id': template.id, 'error': error})
                return True
            known = self.get(template.id, template.size)
            if known is None or known.digest == recorded.replaces:
                self._keep(template.id, new)
            return True

    def _keep(self, template_id: str, new: profiles.Profile) -> None:
        device = self._find(template_id)
        if device is None:
            name = templates.profile_of(template_id)
            self._group.create(name, _ROOM, _TAGS)
            device = self._group.activate(name)
        text = new.to_text().encode()
        blockdev.write_start(device, b''.join((
            b'vmthunder profile %d %s\n' % (
                len(text), hashlib.sha256(text).hexdigest().encode()),
            text)).ljust(_ROOM, b'\0'))
        LOG.info('Template %(id)s has a profile of %(size)d MiB.',
                 {'id': template_id, 'size': new.bytes // profiles.MIB})

    def _find(self, template_id: str) -> str | None:
        """Return the device of a template's profile, if it has one."""
        name = templates.profile_of(template_id)
        if not self._group.is_active(name):
            if template_id in self._looked_for:
                return None
            self._looked_for.add(template_id)
            if self._group.get(name) is None:
                return None
        return self._group.activate(name)


def _read(device: str, size: int) -> profiles.Profile | None:
    data = blockdev.read_start(device, _ROOM)
    match = _HEADER.match(data)
    if not match:
        return None
    text = data[match.end():match.end() + int(match[1])]
    if hashlib.sha256(text).hexdigest().encode() != match[2]:
        return None
    try:
        return profiles.Profile.parse(text.decode(errors='replace'), size)
    except brick_exception.InvalidProfile as error:
        LOG.warning('%(device)s: %(error)s',
                    {'device': device, 'error': error})
        return None
