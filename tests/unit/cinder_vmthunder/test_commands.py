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

"""How many commands everyday operations take: a storm has hundreds."""

from tests.unit.cinder_vmthunder import fakes
from tests.unit.cinder_vmthunder import test_driver

A, B = fakes.connector('a'), fakes.connector('b')


class CommandsTest(test_driver.DriverTestCase):

    def setUp(self):
        super().setUp()
        self.volume, self.other = fakes.Volume(), fakes.Volume(fakes.OTHER)
        self.create(self.other)
        # as udev sees to for what isn't skipped at activation
        self.patch('os.path.exists', return_value=True)

    def assertRuns(self, wanted, call, *args):
        self.lvm.commands.clear()
        call(*args)
        self.assertEqual(wanted.split(),
                         [command[0] for command in self.lvm.commands])

    def test_create(self):
        self.assertRuns('lvs lvcreate', self.create, self.volume)

    def test_extend(self):
        self.assertRuns('lvs lvextend', self.driver.extend_volume,
                        self.other, 3)

    def test_larger_clone(self):
        self.volume.size = 3
        self.assertRuns('lvs lvcreate lvextend',
                        self.driver.create_cloned_volume, self.volume,
                        self.other)

    def test_attach_and_detach(self):
        self.create(self.volume)
        self.assertRuns('lvs lvs', self.attach, self.other, A)
        self.assertRuns('lvs lvs', self.attach, self.volume, B)
        # whether a diff of the template is still exported
        self.assertRuns('lvs lvs lvs', self.detach, self.volume, B)
        self.assertRuns('lvs lvs lvs', self.detach, self.other, A)

    def test_delete(self):
        self.assertRuns('lvs', self.driver.remove_export, 'context',
                        self.other)
        self.assertRuns('lvs lvremove', self.driver.delete_volume,
                        self.other)

    def test_delete_while_another_is_attached(self):
        self.create(self.volume)
        self.attach(self.other, A)
        self.assertRuns('lvs lvs', self.driver.remove_export, 'context',
                        self.volume)
        self.assertRuns('lvs lvs lvremove', self.driver.delete_volume,
                        self.volume)

    def test_statistics(self):
        self.create(self.volume)
        self.assertRuns('lvs', self.driver.get_volume_stats, True)
