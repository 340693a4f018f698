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

"""Attaching by processes that aren't root, as Nova's and Glance's."""

from tests.functional import backend
from tests.functional import base
from tests.functional import compute
from tests.functional import glancestore
from tests.functional import novacompute
from tests.functional import test_host_stack
from tests import lab

MIB = 1 << 20
HOST = lab.HostSpec('users', 63, memory=768)
GIB = 1 << 30


class ServiceUsersTestCase(base.FunctionalTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        storage, cls.host = base.together(
            lambda: base.get_host(test_host_stack.STORAGE),
            lambda: base.get_host(HOST))
        base.together(lambda: storage.preload(*backend.MODULES),
                      lambda: cls.host.preload(*cls.SERVICE.MODULES))
        cls.host.call(cls.SERVICE.install)
        cls.backend = backend.Backend(
            storage, test_host_stack.HostStackTestCase.ADDRESSES)

    def make_volume(self, size):
        """Return a template, and a volume of it that the host may attach."""
        template = self.backend.make_template(24 * MIB)
        self.addCleanup(self.backend.remove_template, template)
        volume = self.backend.make_volume(template, size, self.host)
        self.addCleanup(self.backend.remove_volume, volume)
        return template, volume


class GlanceTest(ServiceUsersTestCase):

    SERVICE = glancestore

    def test_image_in_a_volume(self):
        """As of one that was cloned when it was uploaded."""
        template, volume = self.make_volume(GIB)
        content = backend.content(template.id, 24 * MIB)
        digest, connector = self.host.call(
            glancestore.checksum, self.host.address, volume.to_dict(),
            len(content), timeout=300)
        self.assertEqual(backend.digest(content), digest)
        self.assertEqual(3260, connector['vmthunder']['relay_port'])
        self.assertEqual([], self.host.call(compute.leftovers))


class NovaTest(ServiceUsersTestCase):

    SERVICE = novacompute

    def test_announcement(self):
        found = self.host.call(novacompute.connector, self.host.address)
        self.assertEqual(3260, found['vmthunder']['relay_port'])
        self.assertIn(self.host.name, found['initiator'])

    def test_volume(self):
        template, volume = self.make_volume(GIB)
        data = self.backend.relayed(volume, self.host).to_dict()
        # root was the first to want a lock, as its agent may be
        self.host.run('vmthunder', '--lock-path', novacompute.LOCKS, 'cache',
                      'drop', template.id)
        path = self.host.call(novacompute.connect, data, timeout=300)
        self.assertEqual(f'/dev/mapper/vmthunder-{volume.volume_id}', path)
        content = backend.content(template.id, 24 * MIB)
        self.assertEqual(backend.digest(content), self.host.call(
            compute.checksum, path, len(content)))
        self.assertIn(f'export {data["template"]["export"]["iqn"]}',
                      self.host.call(compute.leftovers))
        self.backend.extend(volume, 2 * GIB)
        self.assertEqual(2 * GIB, self.host.call(
            novacompute.extend, data, 0, timeout=300))
        # who has it open is told by name, whosever process it is
        self.host.run(
            'sh', '-c', f'setsid setpriv --reuid=nobody sleep 600 <{path} '
            '>/dev/null 2>&1 & echo $! >/run/user-of-volume')
        with self.assertRaisesRegex(Exception, r'sleep \(\d+\)'):
            self.host.call(novacompute.disconnect, data, timeout=300)
        self.host.run('pkill', '-x', 'sleep')
        self.host.call(novacompute.disconnect, data, timeout=300)
        self.assertEqual([], self.host.call(compute.leftovers))
        # nobody but root may change what root has made
        self.assertEqual('', self.host.run(
            'find', '/var/lib/vmthunder', '/run/vmthunder', '/dev/vmthunder',
            '-perm', '/022', '!', '-type', 'l', check=False).stdout)
