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


"""Taking down what no volume uses any more.

A host that serves children keeps a template's stack for a while after its
last volume is gone. Nobody waits for that: whoever attaches or detaches next
on this host, and its agent, looks whether the time is over.
"""

from oslo_log import log as logging

from os_brick_vmthunder.caches import base as caches
from os_brick_vmthunder import conf
from os_brick_vmthunder import devicemapper
from os_brick_vmthunder import exception
from os_brick_vmthunder import locks
from os_brick_vmthunder import paths as lun_paths
from os_brick_vmthunder import stack

LOG = logging.getLogger(__name__)

_KINDS = ('VMTHUNDER-template-', 'VMTHUNDER-relay-')


def sweep(paths: lun_paths.Paths, cache: caches.Cache,
          config: conf.HostConfig) -> None:
    """Take down all stacks of this host that nothing needs any more.

    What those keep that stay is made to outlive a power cut.
    The caller holds no lock. What somebody works on just now is left alone,
    and what cannot be taken down is for the next time.
    """
    templates = _templates()
    for template_id in templates:
        try:
            with locks.host_lock('template', template_id, wait=False):
                stack.HostStack(template_id, paths, cache, config).release()
        except locks.Busy:
            LOG.debug('Template %s is being worked on', template_id)
        except (exception.VMThunderException, OSError) as error:
            LOG.warning('Template %(id)s, which no volume uses here, does '
                        'not go: %(error)s',
                        {'id': template_id, 'error': error})
        cache.settle(template_id)
    paths.end_orphans(templates)


def _templates() -> list[str]:
    """Return the ids of the templates that this host has a stack of."""
    return sorted({device.uuid.removeprefix(kind)
                   for device in devicemapper.devices() for kind in _KINDS
                   if device.uuid.startswith(kind)})


def end(template_id: str, paths: lun_paths.Paths, cache: caches.Cache,
        config: conf.HostConfig) -> None:
    """Take a template's stack down now unless a volume uses it.

    Its children are thrown out. The caller holds the host's lock on the
    template.

    :raises VMThunderException: it does not go.
    """
    stack.HostStack(template_id, paths, cache, config).release(linger=False)
