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

"""A relay that gets nothing itself looks dead to its children.

They would wait in vain, since it answers all but their reads. Turned away,
they go on by another path within seconds, and come back when it serves again.
"""

import threading

from oslo_log import log as logging

from os_brick_vmthunder import agentupstream
from os_brick_vmthunder import nodes
from os_brick_vmthunder.privileged import lio
from os_brick_vmthunder.privileged import serving

LOG = logging.getLogger(__name__)


class Gate:
    """Opens and closes this host's exports.

    Whether one is closed is read from LIO. Of what is kept here, only time
    is lost with the process.
    """

    def __init__(self) -> None:
        self._upstreams: dict[str, agentupstream.Upstream] = {}
        self._closing: dict[str, threading.Thread] = {}
        #: Templates that this host waits for in vain.
        self.stalled: frozenset[str] = frozenset()

    def look(self) -> None:
        """Close the exports of templates that stall, open the others."""
        cached = dict(agentupstream.templates())
        self._upstreams = {
            template_id: self._upstreams.get(template_id) or
            agentupstream.Upstream(template_id) for template_id in cached}
        stalled = frozenset(
            template_id for template_id, upstream in self._upstreams.items()
            if upstream.stalled(cached[template_id]))
        for template_id in stalled - self.stalled:
            LOG.warning('Nothing comes of template %s; it is not served '
                        'until something does', template_id)
        for template_id in self.stalled - stalled:
            LOG.info('Template %s comes again', template_id)
        self.stalled = stalled
        for template_id in cached:
            for iqn in lio.names(nodes.template_target(template_id) + ':'):
                self._set(iqn, template_id not in stalled)

    def _set(self, iqn: str, wanted: bool) -> None:
        closing = self._closing.get(iqn)
        if closing is not None:
            if closing.is_alive():
                return
            del self._closing[iqn]
        if serving.read(iqn) in (None, wanted):
            return
        if wanted:
            _write(iqn, True)
        else:
            self._closing[iqn] = threading.Thread(
                target=_write, args=(iqn, False), daemon=True)
            self._closing[iqn].start()


def _write(iqn: str, on: bool) -> None:
    try:
        serving.write(iqn, on)
    except OSError as error:
        # It went meanwhile, or another agent's closing is under way.
        LOG.debug('%(iqn)s: %(error)s', {'iqn': iqn, 'error': error})
