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

from unittest import mock

import ddt

from cinder_vmthunder import exception
from cinder_vmthunder import profiles
from cinder_vmthunder import templates
from os_brick_vmthunder import announcement
from os_brick_vmthunder import connection
from os_brick_vmthunder import profile
from tests.unit.cinder_vmthunder import fakes
from tests.unit.cinder_vmthunder import test_driver

MIB = profile.MIB
SIZE = 100 * MIB
FIRST = profile.Profile.of(SIZE, profile.MIB, [9, 3, 4])
OTHER = profile.Profile.of(SIZE, profile.MIB, [50])
A, B = fakes.connector('a'), fakes.connector('b')


class Devices:
    """What is at the start of LVs' devices."""

    def __init__(self, lvm):
        self.lvm = lvm
        self.data = {}

    def write_start(self, device, data):
        assert device.rpartition('/')[2] in self.lvm.volumes
        assert len(data) % 4096 == 0
        self.data[device] = data

    def read_start(self, device, length):
        assert device.rpartition('/')[2] in self.lvm.volumes
        return self.data.get(device, b'\xab' * length)[:length]


class ProfilesTestCase(test_driver.DriverTestCase):

    def setUp(self):
        super().setUp()
        self.devices = Devices(self.lvm)
        self.patch('cinder_vmthunder.profiles.blockdev', self.devices)
        self.active = self.patch(
            'cinder_vmthunder.volumegroup.VolumeGroup.is_active',
            side_effect=lambda name: name in self.lvm.volumes)
        self.volume, self.other = fakes.Volume(), fakes.Volume(fakes.OTHER)
        self.create(self.volume)
        self.create(self.other)
        self.template_id = self.template().id
        self.name = f'profile-{self.template_id}'
        self.profiles = profiles.Profiles(self.driver._group)

    def announce(self, *texts, replaces='', template_id=None):
        return announcement.Announcement('1.3', profiles=tuple(
            announcement.RecordedProfile(template_id or self.template_id, text,
                                         replaces) for text in texts))

    def hear(self, *made, **values):
        """Announce profiles; return whether all are done with."""
        heard = self.profiles.hear(self.announce(
            *(each.to_text() for each in made), **values))
        return heard == tuple(each.digest for each in made)

    def get(self):
        return self.profiles.get(self.template_id, SIZE)


@ddt.ddt
class KeepTest(ProfilesTestCase):

    def test_first_one_stays(self):
        self.assertIsNone(self.get())
        self.assertTrue(self.hear(FIRST))
        self.assertEqual(FIRST, self.get())
        self.assertTrue(self.hear(OTHER))
        self.assertEqual(FIRST, self.get())
        self.assertEqual({'profile'}, self.lvm.tags(self.name))

    def test_until_it_does_not_match(self):
        self.hear(FIRST)
        self.assertTrue(self.hear(OTHER, replaces=OTHER.digest))
        self.assertEqual(FIRST, self.get())
        self.assertTrue(self.hear(OTHER, replaces=FIRST.digest))
        self.assertEqual(OTHER, self.get())
        self.assertEqual(1, list(self.lvm.volumes).count(self.name))

    def test_survives_a_restart_and_a_reboot(self):
        self.hear(FIRST)
        self.active.side_effect = lambda name: False
        self.profiles = profiles.Profiles(self.driver._group)
        self.assertEqual(FIRST, self.get())
        self.assertEqual('lvchange', self.lvm.commands[-1][0])

    def test_looks_once_for_what_is_not_there(self):
        self.get()
        self.lvm.commands.clear()
        self.get()
        self.assertEqual([], self.lvm.commands)
        self.hear(FIRST)
        self.assertEqual(FIRST, self.get())

    def test_who_was_killed_over_it_left_nothing(self):
        with mock.patch.object(self.devices, 'write_start',
                               side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, self.hear, FIRST)
        self.assertIsNone(self.get())
        self.assertTrue(self.hear(OTHER))
        self.assertEqual(OTHER, self.get())

    def test_half_written_counts_as_nothing(self):
        self.hear(FIRST)
        (device, data), = self.devices.data.items()
        self.devices.data[device] = data.replace(b' 9 ', b' 8 ')
        self.assertIsNone(self.get())

    @ddt.data('v2 40 0+ff', 'v7', 'x' * 9000)
    def test_hostile_text_is_done_with(self, text):
        self.assertEqual((profile.digest(text),),
                         self.profiles.hear(self.announce(text)))
        self.assertIsNone(self.get())

    @ddt.data('x', '../x', 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee')
    def test_template_of_another_backend(self, template_id):
        self.assertFalse(self.hear(FIRST, template_id=template_id))
        self.assertNotIn(f'profile-{template_id}', self.lvm.volumes)

    def test_what_fails_is_for_the_next_time(self):
        self.lvm.fail['lvcreate'] = 'no space'
        self.assertFalse(self.hear(FIRST))
        self.lvm.fail.clear()
        self.assertTrue(self.hear(FIRST))
        with mock.patch.object(self.devices, 'read_start',
                               side_effect=OSError):
            self.assertIsNone(self.get())

    def test_nothing_is_announced(self):
        for host in None, announcement.Announcement('1.2'):
            self.assertEqual((), self.profiles.hear(host))


class AttachTest(ProfilesTestCase):

    def connect(self, volume, connector, *made):
        """Attach as a host that knows profiles; return the contract."""
        said = self.announce(*(each.to_text() for each in made)).to_dict()
        info = self.attach(volume, {**connector, 'vmthunder': said})
        return connection.Connection.from_dict(info['data'])

    def test_from_host_to_host(self):
        contract = self.connect(self.volume, A)
        self.assertIsNone(contract.template.profile)
        self.assertEqual((), contract.heard)
        contract = self.connect(self.volume, A, FIRST)
        self.assertEqual(FIRST, contract.template.profile)
        self.assertEqual((FIRST.digest,), contract.heard)
        contract = self.connect(self.other, B)
        self.assertEqual(FIRST, contract.template.profile)
        self.assertEqual((), contract.heard)

    def test_host_that_has_no_use_for_it(self):
        self.connect(self.volume, A, FIRST)
        info = self.attach(self.other, B)
        self.assertIsNone(info['data']['template']['profile'])

    def test_no_volume_fails_for_it(self):
        with mock.patch.object(
                profiles.templates, 'profile_of',
                side_effect=exception.VolumeGroupFailed(
                    action='x', name='y', reason='z')):
            contract = self.connect(self.volume, A, FIRST)
        self.assertIsNone(contract.template.profile)


class CollectTest(ProfilesTestCase):

    def test_goes_with_its_template(self):
        self.hear(FIRST)
        templates.mark_for_drop(self.driver._group, self.template_id)
        for volume in self.volume, self.other:
            self.driver.delete_volume(volume)
        self.assertIn(self.name, self.lvm.volumes)
        self.driver._update_volume_stats()
        self.assertEqual({}, self.lvm.volumes)

    def test_what_was_left_over(self):
        self.driver._group.create(f'profile-{fakes.VOLUME}', 1 << 20,
                                  {'profile': ''})
        self.driver._group.create('profile-of-somebody', 1 << 20, {})
        self.hear(FIRST)
        self.lvm.fail['lvremove'] = 'in use'
        self.driver._update_volume_stats()
        self.lvm.fail.clear()
        self.driver._update_volume_stats()
        self.assertNotIn(f'profile-{fakes.VOLUME}', self.lvm.volumes)
        self.assertIn('profile-of-somebody', self.lvm.volumes)
        self.assertEqual(FIRST, self.get())
