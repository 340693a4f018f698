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

"""Nova's part of attaching, by a process that isn't root."""

from tests.functional import backend
from tests.functional import base
from tests.functional import compute
from tests.functional import novacompute
from tests.functional import test_host_stack
from tests import lab

MIB = 1 << 20
NOVA = lab.HostSpec('nova-user', 63, memory=768)
GIB = 1 << 30


class NovaUserTest(base.FunctionalTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        storage, cls.host = base.together(
            lambda: base.get_host(test_host_stack.STORAGE),
            lambda: base.get_host(NOVA))
        base.together(lambda: storage.preload(*backend.MODULES),
                      lambda: cls.host.preload(*novacompute.MODULES))
        cls.host.call(novacompute.install)
        cls.backend = backend.Backend(
            storage, test_host_stack.HostStackTestCase.ADDRESSES)

    def test_announcement(self):
        found = self.host.call(novacompute.connector, self.host.address)
        self.assertEqual(3260, found['vmthunder']['relay_port'])
        self.assertIn(self.host.name, found['initiator'])

    def test_volume(self):
        template = self.backend.make_template(24 * MIB)
        self.addCleanup(self.backend.remove_template, template)
        volume = self.backend.make_volume(template, GIB, self.host)
        self.addCleanup(self.backend.remove_volume, volume)
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
