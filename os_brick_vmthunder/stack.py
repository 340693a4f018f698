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

import os
from typing import Optional

from oslo_concurrency import processutils
from oslo_log import log as logging

from os_brick_vmthunder.caches import base as caches
from os_brick_vmthunder.caches import none
from os_brick_vmthunder import conf
from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper
from os_brick_vmthunder import exception
from os_brick_vmthunder import export
from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder import marks
from os_brick_vmthunder import paths as lun_paths
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

# How often to try to take a device down that the agent may read from.
_FETCH_ATTEMPTS = 8


class HostStack:
    """Paths, multipath map, cache and export of one template on this host.

    The caller holds the host's lock on the template. How many volumes use
    the stack is read from the kernel: whoever stands on the cached device
    holds it open.

    :param config: of this host.
    """

    def __init__(self, template_id: str, paths: lun_paths.Paths,
                 cache: caches.Cache, config: conf.HostConfig) -> None:
        self._id = template_id
        self._paths = paths
        self._cache = cache
        self._config = config

    @property
    def cached(self) -> Optional[str]:
        """The cached template's device, if it is there."""
        return self._cache.device(self._id)

    def build(self, template: connection.Template) -> str:
        """Bring the template to this host, or find that it is here.

        :returns: the cached template's device.
        :raises MultipathError: it can't be reached.
        :raises ConfigurationError: the cache is not set up rightly.
        """
        device = self._paths.connect(template)
        cached = self.cached or self._attach(device, template.size)
        marks.remove(self._id)
        self._foretell(template)
        self._serve(template, cached, device)
        return cached

    def release(self, linger: bool = True, force: bool = False) -> None:
        """Take the stack down unless something still needs it.

        A volume that stands on it does; a child does for as long as the
        host is set to serve on. What is cached stays for the next time.

        :param linger: whether children are minded.
        :param force: go on although the export isn't withdrawn.
        """
        users = self.volumes()
        if users:
            LOG.debug('Template %(id)s stays: %(users)s use it',
                      {'id': self._id, 'users': users})
            return
        if linger and self._lingers():
            return
        fetched = hostprofiles.foretold.read(self._id) is not None
        hostprofiles.forget(self._id)
        # or who reads here now would keep the export from going
        self._paths.stop_queueing(self._id)
        self._withdraw(force)
        self._detach(_FETCH_ATTEMPTS if fetched else 1)
        self._paths.disconnect_template(self._id)
        marks.remove(self._id)

    def volumes(self) -> list[str]:
        """Return the devices of volumes that stand on the stack."""
        cached = self.cached
        return [] if cached is None else [
            holder for holder in devicemapper.holders(cached)
            if holder != export.name(self._id)]

    def _attach(self, device: str, size: int) -> str:
        try:
            return self._cache.attach(self._id, device, size)
        except exception.ConfigurationError:
            raise
        except (exception.VMThunderException, OSError,
                processutils.ProcessExecutionError) as error:
            LOG.warning('The cache of this host does not work: %(error)s. '
                        'Template %(id)s is read over the network until its '
                        'last volume here is detached.',
                        {'error': error, 'id': self._id})
            uncached = none.NoCache(self._config)
            return uncached.attach(self._id, device, size)

    def _foretell(self, template: connection.Template) -> None:
        """Tell this host's agent what to fetch, and what to compare with."""
        if self._config.prefetch == conf.PREFETCH_OFF:
            return
        profile = template.profile.to_text() if template.profile else ''
        try:
            hostprofiles.foretold.write(self._id, hostprofiles.Foretold(
                template.size, profile))
        except OSError as error:
            LOG.warning('Nothing of template %(id)s is fetched ahead: '
                        '%(error)s', {'id': self._id, 'error': error})

    def _serve(self, template: connection.Template, cached: str,
               device: str) -> None:
        """Serve children. Their needs are no reason to fail a guest."""
        if (template.export is None or not self._config.relay_port or
                stands_on(cached, device)):
            return
        try:
            export.serve(template, template.export, cached)
        except (exception.VMThunderException, OSError) as error:
            LOG.warning('This host does not relay template %(id)s: '
                        '%(error)s', {'id': self._id, 'error': error})

    def _lingers(self) -> bool:
        waited_for = export.is_waited_for(self._id)
        children = export.children(self._id)
        if not waited_for and not (children and self._config.relay_linger):
            return False
        age = marks.age(self._id)
        if age is None:
            LOG.info('No volume uses template %(id)s here; it is served for '
                     '%(seconds)d seconds more to %(children)s', {
                         'id': self._id, 'children': children,
                         'seconds': self._config.relay_linger})
            marks.add(self._id)
        return waited_for or (age or 0) < self._config.relay_linger

    def _detach(self, attempts: int) -> None:
        """Take the cached device down; an attempt takes seconds if it's busy.

        The agent may wait for one more request to be answered, for as long
        as the kernel tries paths that hang.
        """
        for _attempt in range(attempts - 1):
            try:
                self._cache.detach(self._id)
                return
            except exception.DeviceBusy as error:
                LOG.debug('%s', error)
        self._cache.detach(self._id)

    def _withdraw(self, force: bool) -> None:
        try:
            export.withdraw(self._id)
        except exception.VMThunderException as error:
            if not force:
                raise
            LOG.warning('Template %(id)s: %(error)s',
                        {'id': self._id, 'error': error})


def stands_on(cached: str, device: str) -> bool:
    """Tell whether nothing is cached: there is nothing in between."""
    return os.path.basename(device) in sysfs.listing(
        sysfs.kernel_name(cached), 'slaves')
