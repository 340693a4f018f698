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

"""Volumes that are extended while a guest uses them, on real kernels."""

import concurrent.futures
import time

from os_brick_vmthunder import exception
from tests.functional import compute
from tests.functional import load
from tests.functional import steps
from tests.functional import test_host_stack
from tests.lab import errors

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class ExtendTestCase(test_host_stack.HostStackTestCase):

    TEMPLATE_SIZE = 4 * MIB

    def attach(self, host, connect=compute.connect):
        """Attach a volume of 1 GiB that a guest has open from then on."""
        volume = self.make_volume(host, GIB)
        path = host.call(connect, volume.to_dict())
        guest = host.spawn('sh', '-c', f'exec 3<>{path}; exec sleep 1000')
        self.addCleanup(guest.kill)
        while not host.run('fuser', path, check=False).stdout:
            time.sleep(0.1)
        return volume, path, guest

    def assertSize(self, size, host, path):
        self.assertEqual(size, host.call(compute.length, path))
        self.assertEqual([], host.call(compute.suspended))


class ExtendTest(ExtendTestCase):

    def test_while_a_guest_reads_and_writes(self):
        host = self.hosts[0]
        volume, path, guest = self.attach(host)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            # at the end it looks at the whole volume
            running = pool.submit(
                host.call, load.run, path, self.template.id,
                self.TEMPLATE_SIZE, 6.0, timeout=100)
            time.sleep(1)
            self.backend.extend(volume, 2 * GIB)
            # the caller has the connection that it attached with
            self.assertEqual(2 * GIB, host.call(compute.extend,
                                                volume.to_dict()))
            report = running.result()
        self.assertEqual([], report.wrong)
        self.assertLess(report.stall, 5)
        self.assertSize(2 * GIB, host, path)
        # nothing has changed since
        self.assertEqual(2 * GIB, host.call(compute.extend,
                                            volume.to_dict()))
        before = host.call(compute.checksum, path, self.TEMPLATE_SIZE)
        across, end = GIB - 2 * KIB, 2 * GIB - 4 * KIB
        host.call(compute.write, path, across, b'a' * 4 * KIB)
        host.call(compute.write, path, end, b'e' * 4 * KIB)
        newer = self.backend.extend(volume, 3 * GIB)
        # in place also when it is connected anew
        self.assertEqual(path, self.connect(host, newer))
        guest.kill()
        # and with an old connection, as after a reboot
        self.disconnect(host, volume)
        self.assertNothingLeft(host)
        self.connect(host, volume)
        self.assertSize(3 * GIB, host, path)
        self.assertEqual(before, host.call(compute.checksum, path,
                                           self.TEMPLATE_SIZE))
        for offset, letter in (across, b'a'), (end, b'e'):
            self.assertEqual(
                bytes(4 * KIB) + letter * 4 * KIB + bytes(4 * KIB),
                host.call(compute.read, path, offset - 4 * KIB, 12 * KIB))
        self.assertTrue(host.call(compute.is_zero, path, end + 4 * KIB))
        self.disconnect(host, volume)
        self.assertNothingLeft(host)


class OnePathTest(ExtendTestCase):

    ADDRESSES = ['10.77.0.51']

    def test_network_is_lost_in_the_middle(self):
        """No request fails, or the snapshot would be invalid for ever."""
        host = self.hosts[1]
        volume, path, guest = self.attach(host, compute.connect_impatiently)
        self.backend.extend(volume, 2 * GIB)
        text = b'w' * 4 * KIB
        self.assertEqual(2 * GIB, host.call(
            compute.extend_in_outage, volume.to_dict(), path, 512 * MIB,
            text))
        self.assertSize(2 * GIB, host, path)
        self.assertEqual(text, host.call(compute.read, path, 512 * MIB,
                                         len(text)))
        self.assertHoldsImage(host, path)
        guest.kill()
        self.disconnect(host, volume)
        with self.assertRaises(exception.NotAttached):
            host.call(compute.extend, volume.to_dict())
        self.assertNothingLeft(host)

    def test_killed_after_every_step(self):
        """Each of two hosts takes every other step."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(self._try_steps, self.hosts,
                          (steps.first(), steps.first() + steps.STRIDE)))

    def _try_steps(self, host, step):
        volume, path, guest = self.attach(host)
        data, size = volume.to_dict(), GIB
        marks = b''
        ended = False
        while not ended:
            size += GIB
            newer = self.backend.extend(volume, size).to_dict()
            ended = self._killed(host, step, data)
            # the guest goes on by one size or the other
            self.assertEqual([], host.call(compute.suspended))
            marks += b'%511d\n' % step
            host.call(compute.write, path, 512 * MIB, marks)
            if step // 2 % 2:
                host.call(compute.connect, newer)
            else:
                self.assertEqual(size, host.call(compute.extend, data))
            self.assertEqual(size, host.call(compute.length, path))
            self.assertEqual(marks, host.call(
                compute.read, path, 512 * MIB, len(marks)))
            step += 2 * steps.STRIDE
        self.assertLess(9, step)
        self.assertHoldsImage(host, path)
        self.assertSize(size, host, path)
        guest.kill()
        self.disconnect(host, volume)
        self.assertNothingLeft(host)

    def _killed(self, host, step, data):
        """Return whether extending ended before it could be killed."""
        try:
            host.call(steps.run, step, compute.extend, data)
        except errors.CallKilled:
            return False
        return True
