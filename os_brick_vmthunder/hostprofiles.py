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

"""What this host knows of profiles: small files, one for each template.

They survive every process and no reboot, as what they tell of. Everybody may
read them; what is in a file that somebody was killed over counts as nothing.
"""

import dataclasses
import json
import os
import random
from typing import Generic, Iterator, TypeVar
import uuid

from os_brick_vmthunder import announcement
from os_brick_vmthunder.privileged import files
from os_brick_vmthunder import profile
from os_brick_vmthunder import sysfs

_DIRECTORY = '/run/vmthunder'

#: States of fetching; what is not cached isn't fetched.
FETCHING, WAITING, COMPLETE, UNCACHED = (
    'fetching', 'waiting', 'complete', 'uncached')

_T = TypeVar('_T', 'Foretold', 'Recorded', 'Progress')


@dataclasses.dataclass(frozen=True)
class Foretold:
    """What is to be fetched of a template that this host has.

    The file is there as long as somebody may read the template here: who
    takes the template down removes it first.

    :ivar size: bytes of the template.
    :ivar text: of the profile that came with the last connection; empty if
        none did.
    """

    size: int
    text: str = ''

    @property
    def profile(self) -> profile.Profile:
        """Return it.

        :raises InvalidProfile: somebody wrote the file who shouldn't.
        """
        if not self.text:
            return profile.Profile(self.size, profile.UNIT)
        return profile.Profile.parse(self.text, self.size)


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A profile that was recorded here and that Cinder hasn't heard of.

    :ivar replaces: digest of the profile that didn't match any more; empty
        if there was none.
    """

    text: str
    replaces: str = ''


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far fetching is.

    :ivar mode: what is fetched: see the option ``prefetch``.
    :ivar digest: of the profile that foretells it.
    :ivar foretold: bytes to be fetched, by the profile.
    :ivar fetched: bytes of what is to be fetched that are here now.
    :ivar round: how often all was asked for already.
    :ivar done: bytes of this round that were asked for.
    :ivar state: :data:`FETCHING`, :data:`WAITING` for what doesn't come,
        :data:`COMPLETE`, or :data:`UNCACHED`.
    """

    mode: str
    digest: str
    foretold: int
    fetched: int = 0
    round: int = 0
    done: int = 0
    state: str = FETCHING

    def is_of(self, other: 'Progress') -> bool:
        """Tell whether both are of the same blocks."""
        return (self.mode, self.digest) == (other.mode, other.digest)

    @property
    def is_over(self) -> bool:
        return self.state in (COMPLETE, UNCACHED)


class _Kind(Generic[_T]):
    """Files of one kind."""

    def __init__(self, prefix: str, kind: type[_T]) -> None:
        self._prefix = f'{prefix}-'
        self._kind: type[_T] = kind

    def read(self, template_id: str) -> _T | None:
        """Return what is known of a template; None if nothing is."""
        text = sysfs.read(self._path(template_id))
        try:
            return self._kind(**json.loads(text)) if text else None
        except (TypeError, ValueError):
            return None

    def write(self, template_id: str, what: _T) -> None:
        if self.read(template_id) != what:
            files.write(self._path(template_id),
                        json.dumps(dataclasses.asdict(what)))

    def written(self, template_id: str) -> int:
        """Return when it was written, in nanoseconds; 0 if it wasn't."""
        try:
            return os.stat(self._path(template_id)).st_mtime_ns
        except OSError:
            return 0

    def remove(self, template_id: str) -> None:
        if os.path.exists(self._path(template_id)):
            files.remove(self._path(template_id))

    def all(self) -> Iterator[tuple[str, _T]]:
        """Yield the ids of templates and what is known of them."""
        for name in sorted(_names()):
            if name.startswith(self._prefix):
                template_id = name.removeprefix(self._prefix)
                what = self.read(template_id)
                if what is not None and _is_uuid(template_id):
                    yield template_id, what

    def _path(self, template_id: str) -> str:
        return os.path.join(_DIRECTORY, self._prefix + template_id)


foretold = _Kind('foretold', Foretold)
recorded = _Kind('recorded', Recorded)
progress = _Kind('fetched', Progress)


def note_progress(template_id: str, there: Progress) -> None:
    """Note how far fetching is, of a template that is still here."""
    progress.write(template_id, there)
    if foretold.read(template_id) is None:
        progress.remove(template_id)


def forget(template_id: str) -> None:
    """Have nothing fetched any more of a template that goes."""
    foretold.remove(template_id)
    progress.remove(template_id)


def unheard() -> list[tuple[str, Recorded]]:
    """Return what Cinder is to hear with the next attachment.

    By chance, so that those that no Cinder wants don't keep out the others.
    """
    there = list(recorded.all())
    return random.sample(there, min(len(there), announcement.MOST_PROFILES))


def settle(heard: tuple[str, ...]) -> None:
    """Forget what Cinder has heard of.

    :param heard: digests of profiles.
    """
    for template_id, what in list(recorded.all()):
        if profile.digest(what.text) in heard:
            recorded.remove(template_id)


def _names() -> list[str]:
    try:
        return os.listdir(_DIRECTORY)
    except OSError:
        return []


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
