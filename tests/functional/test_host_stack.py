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

"""The compute side on real kernels, without Cinder."""

import time
from typing import Any

import ddt

from os_brick_vmthunder import exception
from tests.functional import backend
from tests.functional import base
from tests.functional import caching
from tests.functional import compute
from tests import lab
from tests.lab import brick

MIB = 1 << 20
STORAGE = lab.HostSpec('target', 51, memory=256, extra_addresses=(52,),
                       services=())
COMPUTE = (lab.HostSpec('stack-1', 61, memory=512),
           lab.HostSpec('stack-2', 62, memory=512))
VOLUME_SIZE = 64 * MIB


class HostStackTestCase(base.FunctionalTestCase):
    """One template on a storage host and two compute hosts."""

    ADDRESSES = ['10.77.0.51', '10.77.0.52']
    TEMPLATE_SIZE = 24 * MIB
    hosts: list[lab.Host]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.storage = base.get_host(STORAGE)
        cls.hosts = [base.get_host(spec) for spec in COMPUTE]
        for host in cls.hosts:
            host.preload(*brick.MODULES)
        cls.storage.preload(*backend.MODULES)
        cls.backend = backend.Backend(cls.storage, cls.ADDRESSES)

    def setUp(self):
        super().setUp()
        self.template = self.backend.make_template(self.TEMPLATE_SIZE)
        self.addCleanup(self.backend.remove_template, self.template)
        self.digest = backend.digest(
            backend.content(self.template.id, self.TEMPLATE_SIZE))

    def make_volume(self, host, size=VOLUME_SIZE):
        volume = self.backend.make_volume(self.template, size, host)
        self.addCleanup(self.backend.remove_volume, volume)
        self.addCleanup(self.disconnect_everywhere, volume)
        return volume

    def disconnect_everywhere(self, volume):
        """Leave nothing of a failed test to the next one."""
        for host in self.hosts:
            if any(volume.volume_id in entry
                   for entry in host.call(compute.leftovers)):
                self.disconnect(host, volume)

    def connect(self, host, volume):
        path = host.call(compute.connect, volume.to_dict(), timeout=120)
        return path

    def disconnect(self, host, volume):
        host.call(compute.disconnect, volume.to_dict(), timeout=180)

    def assertNothingLeft(self, host):
        self.assertEqual([], host.call(compute.leftovers))

    def assertHoldsImage(self, host, path):
        self.assertEqual(self.digest, host.call(
            compute.checksum, path, self.TEMPLATE_SIZE))


class HostStackTest(HostStackTestCase):

    def test_bytes_independence_and_moving(self):
        one, other = self.hosts
        first, second = self.make_volume(one), self.make_volume(one)
        path = self.connect(one, first)
        second_path = self.connect(one, second)
        self.assertEqual(f'/dev/mapper/vmthunder-{first.volume_id}', path)
        self.assertHoldsImage(one, path)
        self.assertHoldsImage(one, second_path)
        # behind the template a volume is empty
        beyond = one.call(compute.read, path, self.TEMPLATE_SIZE, MIB)
        self.assertEqual(bytes(MIB), beyond)
        one.call(compute.write, path, 4096, b'first' * 1000)
        self.assertNotEqual(self.digest, one.call(
            compute.checksum, path, self.TEMPLATE_SIZE))
        one.call(compute.write, path, VOLUME_SIZE - 512, b'e' * 512)
        self.assertHoldsImage(one, second_path)
        # connecting what is connected changes nothing
        self.assertEqual(path, self.connect(one, first))
        self.disconnect(one, first)
        self.assertHoldsImage(one, second_path)
        self.disconnect(one, second)
        self.assertNothingLeft(one)
        first = self.backend.move(first, other)
        path = self.connect(other, first)
        self.assertEqual(b'first' * 1000,
                         other.call(compute.read, path, 4096, 5000))
        self.assertEqual(b'e' * 512, other.call(
            compute.read, path, VOLUME_SIZE - 512, 512))
        self.disconnect(other, first)
        self.disconnect(other, first)  # once more is fine
        self.assertNothingLeft(other)

    def test_template_is_write_protected_at_the_root(self):
        host = self.hosts[0]
        volume = self.make_volume(host)
        self.connect(host, volume)
        disks = host.run(
            "grep -l template /sys/block/sd*/device/model", shell=True)
        for line in disks.stdout.split():
            disk = line.split('/')[3]
            # not only by the initiator's own flag: ask the root itself
            result = host.run(
                f'blockdev --setrw /dev/{disk}; '
                f'dd if=/dev/urandom of=/dev/{disk} bs=4096 count=1 '
                'oflag=direct', shell=True, check=False)
            self.assertNotEqual(0, result.status)
        self.assertEqual(2, len(disks.stdout.split()))
        self.assertHoldsImage(
            host, f'/dev/mapper/vmthunder-{volume.volume_id}')

    def test_cache_is_warm_after_detach_and_after_power_cut(self):
        host = self.hosts[0]
        volume = self.make_volume(host)
        path = self.connect(host, volume)
        # less than all: udev looked at the new device before
        self.assertLess(self.TEMPLATE_SIZE * 0.9,
                        self.bytes_read(host, path))
        self.disconnect(host, volume)
        self.assertEqual(0, self.bytes_read(host,
                                            self.connect(host, volume)))
        # the cache remembers after a power cut what it knew this long ago
        time.sleep(caching.INDEX_SECONDS)
        host.power_off()
        host.power_on()
        self.assertEqual(0, self.bytes_read(host,
                                            self.connect(host, volume)))
        self.disconnect(host, volume)
        self.assertNothingLeft(host)

    def bytes_read(self, host, path):
        """Read the whole template; return what came over the network."""
        before = host.call(compute.template_bytes)
        self.assertHoldsImage(host, path)
        return host.call(compute.template_bytes) - before


@ddt.ddt
class RefusalTest(HostStackTestCase):
    """Each a clear error, and nothing left behind."""

    ADDRESSES = ['10.77.0.51']

    def assertRefused(self, data: dict[str, Any], error: type, words: str):
        host = self.hosts[1]
        with self.assertRaisesRegex(error, words):
            host.call(compute.connect, data, timeout=120)
        self.assertNothingLeft(host)

    def data(self, **changes: Any) -> dict[str, Any]:
        return dict(self.make_volume(self.hosts[1]).to_dict(), **changes)

    def test_newer_contract(self):
        self.assertRefused(self.data(version='2.0'),
                           exception.InvalidConnection, '2.0.*install')

    def test_malformed(self):
        self.assertRefused(self.data(template={}),
                           exception.InvalidConnection, 'template.id')

    def test_image_larger_than_volume(self):
        self.assertRefused(self.data(volume_size=self.TEMPLATE_SIZE - 512),
                           exception.InvalidConnection, 'larger')

    @ddt.data('template', 'diff')
    def test_wrong_secret(self, lun):
        data = self.data()
        data[lun]['auth_password'] = 'wrong-secret-123'
        self.assertRefused(data, exception.MultipathError,
                           f'{lun}.*no path answered')

    def test_other_templates_secret(self):
        other = self.backend.make_template(4 * MIB)
        self.addCleanup(self.backend.remove_template, other)
        data = self.data()
        data['template'].update(auth_username=other.chap.username,
                                auth_password=other.chap.password)
        self.assertRefused(data, exception.MultipathError, 'no path answered')

    def test_multipathd_not_running(self):
        host = self.hosts[1]
        host.run('multipathd', 'shutdown')
        self.addCleanup(host.run, 'multipathd')
        self.assertRefused(self.data(), exception.ConfigurationError,
                           'multipathd.*systemctl')

    def test_missing_cache_device(self):
        host = self.hosts[1]
        host.run("mkdir -p /etc/vmthunder; printf '[DEFAULT]\n"
                 "cache_device = /dev/missing\n' "
                 "> /etc/vmthunder/vmthunder.conf", shell=True)
        self.addCleanup(host.run, 'rm', '/etc/vmthunder/vmthunder.conf')
        self.assertRefused(self.data(), exception.VMThunderException,
                           '/dev/missing')

    def test_drop_in_missing(self):
        host = self.hosts[1]
        drop_in = '/etc/multipath/conf.d/vmthunder.conf'
        host.run('mv', drop_in, '/run/aside')
        host.run('multipathd', 'reconfigure')
        self.addCleanup(host.run, 'multipathd', 'reconfigure')
        self.addCleanup(host.run, 'mv', '/run/aside', drop_in)
        self.assertRefused(self.data(), exception.MultipathError, drop_in)

    def test_volume_in_use_is_not_detached(self):
        host = self.hosts[1]
        volume = self.make_volume(host)
        path = self.connect(host, volume)
        holder = host.spawn('sh', '-c', f'exec 3<{path}; sleep 100')
        self.addCleanup(holder.kill)
        while not host.run('fuser', path, check=False).stdout:
            time.sleep(0.1)
        with self.assertRaises(exception.DeviceBusy):
            self.disconnect(host, volume)
        self.assertHoldsImage(host, path)
        holder.kill()
        self.disconnect(host, volume)
        self.assertNothingLeft(host)


class StolenDiffTest(HostStackTestCase):

    def test_stale_snapshot_is_not_used_again(self):
        """A diff that another host wrote meanwhile is read anew."""
        one, other = self.hosts
        volume = self.make_volume(one)
        self.connect(one, volume)
        volume = self.backend.move(volume, other)
        path = self.connect(other, volume)
        other.call(compute.write, path, 0, b'other' * 100)
        self.disconnect(other, volume)
        volume = self.backend.move(volume, one)
        path = self.connect(one, volume)
        self.assertEqual(b'other' * 100,
                         one.call(compute.read, path, 0, 500))
        self.disconnect(one, volume)
        self.assertNothingLeft(one)
        self.assertNothingLeft(other)
