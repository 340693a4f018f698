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

"""The cache layer on flashcache, an old module that Linux never took in.

By its documentation, in the mode that only reads fill the cache in and that
never writes to the disk by itself. What it kept goes with its device.
"""

from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder.caches import base
from os_brick_vmthunder.caches import engine
from os_brick_vmthunder.caches import needs
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder.privileged import flashcache

LOG = logging.getLogger(__name__)


class Flashcache(engine.OnPieces):
    """Keeps what was read of a template on a piece of the cache device."""

    PROMISES = base.Promises(kept_at_first_touch=True,
                             kept_after_reboot=False, shared=False)
    NEEDS = needs.Needs(
        modules=('flashcache', 'dm-mirror'),
        programs=('flashcache_create', 'lvcreate'),
        remedy=_('build github.com/facebookarchive/flashcache for this '
                 'kernel, which is to be 4.4 or older, and install lvm2'))

    def _put_over(self, template_id: str, source: str, size: int) -> str:
        name = _name(template_id)
        if dm.find(name) is None:
            piece = self._pieces.ensure(template_id, size)
            try:
                flashcache.create(name, piece, source)
            except (processutils.ProcessExecutionError, OSError) as error:
                raise exception.CacheError(
                    cache='flashcache', reason=str(error)) from error
        return dm.path_of(name)

    def _take_away(self, template_id: str) -> None:
        dm.remove(_name(template_id))
        self._pieces.release(template_id)
        try:
            self._pieces.remove(template_id)
        except exception.CacheError as error:
            LOG.warning('What template %(id)s had of the cache device stays '
                        'for now: %(error)s', {'id': template_id,
                                               'error': error})


def _name(template_id: str) -> str:
    return f'vmthunder-flashcache-{template_id}'
