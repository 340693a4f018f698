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

"""Starts fetching, for each template that this host gets.

What is to be fetched and how far it is stands in files, so that an agent goes
on where another was killed.
"""

import threading

from oslo_log import log as logging

from os_brick_vmthunder.caches import base as caches
from os_brick_vmthunder import exception
from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder import prefetch

LOG = logging.getLogger(__name__)


class Prefetcher:
    """Has a thread for each template that is fetched.

    :param cache: of this host.
    :param mode: what the option ``prefetch`` says.
    """

    def __init__(self, cache: caches.Cache, mode: str) -> None:
        self._cache = cache
        self._mode = mode
        #: What was begun, by template: when it was asked for, and by whom
        #: it is done.
        self._begun: dict[str, tuple[int, threading.Thread]] = {}

    def look(self) -> None:
        """Begin what isn't begun. Who fetches sees itself when to end."""
        wanted = dict(hostprofiles.foretold.all())
        for template_id in set(self._begun) - set(wanted):
            if not self._begun[template_id][1].is_alive():
                del self._begun[template_id]
        for template_id, what in wanted.items():
            written = hostprofiles.foretold.written(template_id)
            begun, thread = self._begun.get(template_id, (0, None))
            if begun == written or thread and thread.is_alive():
                continue  # or it is about to see that it is to end
            thread = threading.Thread(
                target=self._fetch, args=(template_id, what), daemon=True,
                name=f'prefetch {template_id}')
            self._begun[template_id] = written, thread
            thread.start()

    def _fetch(self, template_id: str,
               what: hostprofiles.Foretold) -> None:
        try:
            prefetch.Fetch(template_id, what, self._mode, self._cache).run()
        except exception.InvalidProfile as error:
            LOG.warning('Template %(id)s: %(error)s',
                        {'id': template_id, 'error': error})
        except Exception:
            LOG.exception('Template %s is not fetched', template_id)
