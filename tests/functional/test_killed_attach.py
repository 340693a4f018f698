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

"""Attach and detach killed after every single step, then done again."""

import concurrent.futures

from tests.functional import backend
from tests.functional import compute
from tests.functional import steps
from tests.functional import test_host_stack
from tests.lab import errors

MIB = 1 << 20


class KilledAttachTest(test_host_stack.HostStackTestCase):
    """The hosts serve the template on, too."""

    # One path a LUN: os-brick logs in to several in threads, whose steps
    # come in another order every time.
    ADDRESSES = ['10.77.0.51']
    TEMPLATE_SIZE = 2 * MIB

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for host in cls.hosts:
            host.preload(*backend.MODULES)

    def test_every_step(self):
        """Each of two hosts takes every other step."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(self._try_steps, self.hosts,
                          (steps.first(), steps.first() + steps.STRIDE)))

    def _try_steps(self, host, first):
        volume = self.backend.relayed(self.make_volume(host), host)
        data = volume.to_dict()
        marks = b''
        step, ended = first, False
        while not ended:
            connect_ended = self._killed(host, step, compute.connect, data)
            path = host.call(compute.connect, data, timeout=180)
            self.assertHoldsImage(host, path)
            # what was written before any of the kills is still there
            self.assertEqual(marks, host.call(
                compute.read, path, self.TEMPLATE_SIZE, len(marks)))
            marks += b'%511d\n' % step
            host.call(compute.write, path, self.TEMPLATE_SIZE, marks)
            disconnect_ended = self._killed(host, step, compute.disconnect,
                                            data)
            host.call(compute.disconnect, data, timeout=180)
            self.assertEqual([], host.call(compute.leftovers),
                             f'after step {step}')
            ended = connect_ended and disconnect_ended
            step += 2 * steps.STRIDE
        self.assertLess(20, step)

    def _killed(self, host, step, function, data):
        """Return whether the function ended before it could be killed."""
        try:
            # LIO's own steps are tested with LIO
            host.call(steps.run, step, compute.sparingly, function, data,
                      timeout=180,
                      ignored='/sys/kernel/config/target/')
        except errors.CallKilled:
            return False
        return True
