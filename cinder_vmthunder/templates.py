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

"""Templates: one read-only LV per image, made by whoever asks first.

An LV's tags say what state it is in, so that a template that somebody was
killed over is recognized by the next who holds its lock.
"""

import contextlib
import dataclasses
import time
from typing import Iterable, Iterator
import uuid

from cinder import utils
from os_brick_vmthunder.privileged import blockdev
from oslo_log import log as logging
from oslo_utils import units

from cinder_vmthunder import diffs
from cinder_vmthunder import exception
from cinder_vmthunder import images
from cinder_vmthunder import locks
from cinder_vmthunder import seen
from cinder_vmthunder import targets
from cinder_vmthunder import volumegroup

LOG = logging.getLogger(__name__)

PREFIX = 'template-'
#: What tells a profile's LV from one that others made.
PROFILE_TAG = 'profile'
_PROFILE = 'profile-'

_NAMESPACE = uuid.UUID('6ff10a4f-6ea4-4a5b-a1a8-9b7a0c0f2e5d')
_STATE, _IMPORTING, _READY = 'state', 'importing', 'ready'
_IMAGE, _VERIFIED, _UNUSED, _DROP = 'image', 'verified', 'unused', 'drop'


@dataclasses.dataclass(frozen=True)
class Template:
    """A template.

    :ivar size: bytes.
    :ivar used_space: bytes it takes in the thin pool.
    :ivar ready: False while it is being imported, or if that was cut.
    :ivar verified: the image had a signature and it was right.
    :ivar unused_since: seconds since the epoch, None while in use or if
        nobody noticed yet.
    :ivar drop: an operator wants it gone as soon as it is unused.
    """

    id: str
    image_id: str
    size: int
    used_space: int
    ready: bool
    read_only: bool
    verified: bool
    unused_since: int | None
    drop: bool

    @property
    def name(self) -> str:
        return name_of(self.id)


def name_of(template_id: str) -> str:
    """Return the name of a template's LV."""
    return PREFIX + template_id


def profile_of(template_id: str) -> str:
    """Return the name of the LV that has a template's profile."""
    return _PROFILE + template_id


def widowed_profiles(volumes: Iterable[volumegroup.LogicalVolume]
                     ) -> list[str]:
    """Return the names of those LVs that have a profile of no template.

    Other LVs may have such names, too: they are left alone.
    """
    there = {volume.name: volume for volume in volumes}
    return [name for name, volume in there.items()
            if name.startswith(_PROFILE) and PROFILE_TAG in volume.tags and
            name_of(name.removeprefix(_PROFILE)) not in there]


def id_of(group_uuid: str, image: images.Image) -> str:
    """Return the UUID of an image's template in a volume group.

    Each group has a template of its own, whose WWID must differ from the
    others'. Changed content makes another template.
    """
    return str(uuid.uuid5(_NAMESPACE,
                          f'{group_uuid}/{image.id}/{image.content}'))


def parse(volume: volumegroup.LogicalVolume) -> Template | None:
    """Return the template that an LV is, or None."""
    tags = volume.tags
    if not volume.name.startswith(PREFIX) or _STATE not in tags:
        return None
    return Template(
        id=volume.name.removeprefix(PREFIX), image_id=tags[_IMAGE],
        size=volume.size, used_space=int(volume.size * volume.used),
        ready=tags[_STATE] == _READY, read_only=volume.read_only,
        verified=_VERIFIED in tags, drop=_DROP in tags,
        unused_since=int(tags[_UNUSED]) if _UNUSED in tags else None)


def find(volumes: Iterable[volumegroup.LogicalVolume]) -> list[Template]:
    """Return the templates among LVs."""
    return [template for template in map(parse, volumes) if template]


def users(volumes: Iterable[volumegroup.LogicalVolume]
          ) -> dict[str, list[diffs.Diff]]:
    """Return the diffs among LVs by the id of their template."""
    found: dict[str, list[diffs.Diff]] = {}
    for diff in filter(None, map(diffs.parse, volumes)):
        found.setdefault(diff.template_id, []).append(diff)
    return found


def mark_for_drop(group: volumegroup.VolumeGroup, template_id: str) -> None:
    """Ask the driver to remove a template as soon as it is unused."""
    group.tag(name_of(template_id), {_DROP: ''})


class Templates:
    """The templates of a volume group.

    :param group: the volume group.
    :param target: exports templates.
    :param retention: seconds to keep an unused template.
    """

    def __init__(self, group: volumegroup.VolumeGroup,
                 target: targets.TemplateTarget, retention: int) -> None:
        self._group = group
        self._target = target
        self._retention = retention
        self._ready: seen.Seen[Template] = seen.Seen(group)

    @contextlib.contextmanager
    def hold(self, image: images.Image) -> Iterator[Template]:
        """Find or import an image's template and keep it from going.

        Who asks for an image that is being imported waits.

        :raises CinderException: of the kind that the ordinary path raises.
        """
        template_id = id_of(self._group.uuid, image)
        with locks.template_lock(template_id):
            template = (self._ready.get(name_of(template_id)) or
                        self._find(template_id))
            if template and template.ready:
                template = self._reuse(template, image)
            else:
                if template:
                    LOG.warning('Import of image %s was cut; doing it again.',
                                image.id)
                    self._undo(template.name)
                template = self._import(template_id, image)
            self._ready.put(template.name, dataclasses.replace(
                template, read_only=True, unused_since=None))
            yield template

    def collect(self, volumes: list[volumegroup.LogicalVolume]) -> None:
        """Remove templates whose time has come, and note the unused ones.

        Nothing is raised: what fails now is tried at the next call.

        :param volumes: all LVs of the group.
        """
        used = users(volumes)
        for template in find(volumes):
            try:
                self._review(template, template.id in used)
            except Exception:
                LOG.exception('Could not tidy up template %s; trying again '
                              'later.', template.id)

    def collect_one(self, template_id: str) -> None:
        """Like :meth:`collect`, after a template lost a diff."""
        if self._retention:
            return  # the next pass will see
        self.collect([volume for volume in self._group.volumes()
                      if volume.name == name_of(template_id)
                      or diffs.parse(volume)])

    def _find(self, template_id: str) -> Template | None:
        volume = self._group.get(name_of(template_id))
        return parse(volume) if volume else None

    def _review(self, template: Template, is_used: bool) -> None:
        if is_used:
            self._note_use(template)
        elif not template.ready or template.drop or not self._retention:
            self._remove_unused(template)
        elif template.unused_since is None:
            self._ready.forget(template.name)  # or nobody would take it back
            self._group.tag(template.name, {_UNUSED: str(int(time.time()))})
        elif template.unused_since + self._retention <= time.time():
            self._remove_unused(template)

    def _note_use(self, template: Template) -> None:
        if template.unused_since is not None:
            self._group.tag(template.name,
                            remove={_UNUSED: str(template.unused_since)})

    def _remove_unused(self, template: Template) -> bool:
        with locks.template_lock(template.id, wait=False) as held:
            # what was listed may have changed before the lock was held
            if not held or template.id in users(self._group.volumes()):
                return False
            sessions = self._target.sessions(template.id)
            if sessions:
                LOG.warning('Template %(id)s is unused but %(hosts)s are '
                            'still logged in to it; it stays until they log '
                            'out.', {'id': template.id, 'hosts': sessions})
                return False
            self._target.remove_export(template.id)
            self._group.delete(template.name, profile_of(template.id))
        LOG.info('Removed template %(id)s of image %(image)s.',
                 {'id': template.id, 'image': template.image_id})
        return True

    def _reuse(self, template: Template, image: images.Image) -> Template:
        image.check_size(template.size)
        if images.must_verify() and image.is_signed and not template.verified:
            with image.fetch() as fetched:
                if fetched.verified:
                    self._group.tag(template.name, {_VERIFIED: ''})
                    template = dataclasses.replace(template, verified=True)
        if not template.read_only:
            self._group.set_read_only(template.name)
        self._note_use(template)
        return template

    def _import(self, template_id: str, image: images.Image) -> Template:
        started = time.monotonic()
        name = name_of(template_id)
        with image.fetch() as fetched:
            self._make_room(image.id, images.data_size(fetched))
            extent = self._group.extent_size
            self._group.create(
                name, -(-fetched.size // extent) * extent,
                {_STATE: _IMPORTING, _IMAGE: image.id})
            try:
                device = self._group.activate(name)
                images.write(fetched, device)
                blockdev.flush(device)
                self._group.set_read_only(name)
                self._group.tag(
                    name, {_STATE: _READY,
                           **({_VERIFIED: ''} if fetched.verified else {})},
                    {_STATE: _IMPORTING})
            except Exception:
                with contextlib.suppress(exception.VolumeGroupFailed):
                    self._group.delete(name)
                raise
        template = self._find(template_id)
        assert template is not None
        LOG.info('Imported image %(image)s as template %(id)s in %(time).1f '
                 's: %(used)d of %(size)d MiB are data.',
                 {'image': image.id, 'id': template_id,
                  'time': time.monotonic() - started,
                  'used': template.used_space // units.Mi,
                  'size': template.size // units.Mi})
        return template

    # The qemu-img of a killed import may live on and use the LV for a while.
    @utils.retry(exception.VolumeGroupFailed, interval=2, retries=6)
    def _undo(self, name: str) -> None:
        self._group.delete(name)

    def _make_room(self, image_id: str, needed: int) -> None:
        free = self._group.free_space
        if free() >= needed:
            return
        volumes = self._group.volumes()
        used = users(volumes)
        unused = [template for template in find(volumes)
                  if template.ready and template.id not in used]
        for template in sorted(unused, key=_unused_since):
            if self._remove_unused(template) and free() >= needed:
                return
        if free() < needed:
            raise exception.NoSpaceForTemplate(
                image=image_id, group=self._group.name,
                needed=needed // units.Mi, free=free() // units.Mi)


def _unused_since(template: Template) -> float:
    return template.unused_since or time.time()
