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

"""The host stack: what a host builds once for all volumes of a template."""

from typing import Optional

from oslo_log import log as logging

from os_brick_vmthunder.caches import base as caches
from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper
from os_brick_vmthunder import paths as lun_paths

LOG = logging.getLogger(__name__)


class HostStack:
    """Paths, multipath map and cache of one template on this host.

    The caller holds the host's lock on the template. How many volumes use
    the stack is read from the kernel: whoever stands on the cached device
    holds it open.
    """

    def __init__(self, template: connection.Template,
                 paths: lun_paths.Paths, cache: caches.Cache) -> None:
        self._template = template
        self._paths = paths
        self._cache = cache

    def build(self) -> str:
        """Bring the template to this host, or find that it is here.

        :returns: the cached template's device.
        """
        cached = self._cached()
        if cached is not None and lun_paths.complete(self._template):
            return cached
        device = self._paths.connect(self._template)
        return self._cache.attach(self._template.id, device,
                                  self._template.size)

    def release(self, force: bool = False) -> None:
        """Take the stack down unless a volume still stands on it.

        What is cached stays for the next time.
        """
        cached = self._cached()
        users = devicemapper.holders(cached) if cached else []
        if users:
            LOG.debug('Template %s stays: %s use it', self._template.id,
                      users)
            return
        self._cache.detach(self._template.id)
        self._paths.disconnect(self._template, force)

    def _cached(self) -> Optional[str]:
        return self._cache.device(self._template.id)
