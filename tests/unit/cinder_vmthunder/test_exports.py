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

from cinder.volume.drivers import lvm
from oslo_config import cfg

from cinder_vmthunder import assembly
from cinder_vmthunder import exception
from cinder_vmthunder import layers
from cinder_vmthunder import stores
from cinder_vmthunder import targets
from os_brick_vmthunder import connection
from tests.unit.cinder_vmthunder import fakes
from tests.unit.cinder_vmthunder import test_driver
from tests.unit.cinder_vmthunder import test_images

A, B = fakes.connector('a'), fakes.connector('b')
VMM = fakes.connector('v', vmthunder={'version': '1.2',
                                      'modes': ['dm', 'vmm']})


class AttachTest(test_driver.DriverTestCase):

    def setUp(self):
        super().setUp()
        self.volume, self.other = fakes.Volume(), fakes.Volume(fakes.OTHER)
        self.create(self.volume)
        self.create(self.other)
        self.iqn = f'{fakes.PREFIX}{self.volume.name}'
        self.template_iqn = f'{fakes.PREFIX}{self.template().name}'

    def test_connection(self):
        info = self.attach(self.volume, A)
        self.assertEqual('vmthunder', info['driver_volume_type'])
        contract = connection.Connection.from_dict(info['data'])
        self.assertEqual(self.template().id, contract.template.id)
        self.assertEqual(100 * test_driver.MIB, contract.template.size)
        self.assertEqual(2 << 30, contract.volume_size)
        self.assertEqual(fakes.VOLUME, contract.diff.id)
        self.assertEqual(16, contract.diff.chunk_sectors)
        self.assertEqual(2, len(contract.template.paths))
        self.assertEqual(2, len(contract.diff.paths))
        self.assertEqual(self.lio.targets[self.template_iqn].public,
                         contract.template.chap)
        self.assertEqual({A['initiator']: contract.diff.chap},
                         self.lio.acls[self.iqn])

    def test_template_is_exported_while_a_diff_is(self):
        self.assertEqual({}, self.lio.targets)
        self.attach(self.volume, A)
        self.attach(self.other, B)
        self.assertEqual(3, len(self.lio.targets))
        self.detach(self.volume, A)
        self.assertEqual(2, len(self.lio.targets))
        self.assertIn(self.template_iqn, self.lio.targets)
        self.detach(self.other, B)
        self.assertEqual({}, self.lio.targets)

    def test_what_a_killed_removal_left_of_a_template(self):
        self.attach(self.volume, A)
        with mock.patch.object(targets.TemplateTarget, 'remove_export',
                               side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, self.detach, self.volume, A)
        del self.lio.targets[self.template_iqn]
        self.assertEqual({self.template_iqn}, self.lio.stores)
        self.driver.remove_export('context', self.volume)
        self.assertEqual(set(), self.lio.stores)

    def test_delete_what_a_killed_removal_left_of_an_export(self):
        self.attach(self.volume, A)
        del self.lio.targets[self.iqn]
        self.driver.delete_volume(self.volume)
        self.assertEqual(set(), self.lio.stores)

    def test_second_host_is_refused_and_the_first_undisturbed(self):
        self.attach(self.volume, A)
        before = dict(self.lio.targets), dict(self.lio.acls[self.iqn])
        self.assertRaises(exception.AttachedElsewhere, self.attach,
                          self.volume, B)
        # what the manager would do if initialize_connection() failed
        self.driver.remove_export('context', self.volume)
        self.assertEqual(before, (self.lio.targets,
                                  self.lio.acls[self.iqn]))

    def test_same_host_again(self):
        first = self.attach(self.volume, A)
        self.assertEqual(first, self.attach(self.volume, A))

    def test_other_host_after_detach(self):
        self.attach(self.volume, A)
        self.detach(self.volume, A)
        self.attach(self.volume, B)

    def test_failed_grant_leaves_nothing(self):
        self.lio.refuse = {'grant'}
        self.assertRaises(exception.TargetFailed, self.attach, self.volume, A)
        self.assertEqual({}, self.lio.targets)

    def test_failed_connection_leaves_nothing(self):
        with mock.patch.object(connection.Connection, 'to_dict',
                               side_effect=ValueError):
            self.assertRaises(ValueError, self.attach, self.volume, A)
        self.assertEqual({}, self.lio.targets)

    def test_failed_connection_of_an_attached_host(self):
        self.attach(self.volume, A)
        with mock.patch.object(connection.Connection, 'to_dict',
                               side_effect=ValueError):
            self.assertRaises(ValueError, self.attach, self.volume, A)
        self.assertIn(A['initiator'], self.lio.acls[self.iqn])

    def test_second_attachment_of_a_host_keeps_its_access(self):
        self.attach(self.volume, A)
        self.volume.attach(A, A, B)
        self.assertTrue(self.driver.terminate_connection(self.volume, A))
        self.assertIn(A['initiator'], self.lio.acls[self.iqn])

    def test_force_detach(self):
        self.attach(self.volume, A)
        self.detach(self.volume, None)
        self.assertEqual({}, self.lio.targets)

    def test_restart_after_reboot(self):
        info = self.attach(self.volume, A)
        self.lio.__init__()
        self.driver = self.make()
        self.driver.ensure_export('context', self.volume)
        contract = connection.Connection.from_dict(info['data'])
        self.assertEqual(contract.template.chap,
                         self.lio.targets[self.template_iqn].public)
        self.assertEqual({A['initiator']: contract.diff.chap},
                         self.lio.acls[self.iqn])

    def test_restart_with_nobody_attached(self):
        self.driver.ensure_export('context', self.volume)
        self.assertEqual({}, self.lio.targets)


class OverlayTest(test_driver.DriverTestCase):
    """Volumes in vmm mode."""

    def setUp(self):
        super().setUp()
        self.volume = fakes.Volume(volume_type_id='vmm')
        self.patch('cinder.volume.volume_types.get_volume_type_extra_specs',
                   return_value={'vmthunder:snapshot_mode': 'vmm'})
        self.create(self.volume)
        self.iqn = f'{fakes.PREFIX}{self.volume.name}'
        self.device = f'/dev/vg/{self.volume.name}'
        self.overlays = stores.qcow2

    def test_host_whose_hypervisor_takes_overlays(self):
        info = self.attach(self.volume, VMM)
        contract = connection.Connection.from_dict(info['data'])
        self.assertEqual(connection.SnapshotMode.VMM, contract.mode)
        self.assertEqual(256, contract.diff.chunk_sectors)
        self.assertEqual(self.device, self.lio.targets[self.iqn].device)

    def test_any_other_gets_a_plain_volume(self):
        info = self.attach(self.volume, A)
        self.assertEqual('iscsi', info['driver_volume_type'])
        self.assertIn('assembly', self.lio.targets[self.iqn].device)
        self.assertEqual(1, len(layers.nbd.disks))
        self.detach(self.volume, A)
        self.assertEqual({}, layers.nbd.disks)

    def test_overlay_is_mended_while_nobody_has_it(self):
        self.overlays.written.add(self.device)
        self.attach(self.volume, VMM)
        self.assertEqual([self.device], self.overlays.repaired)
        self.driver.extend_volume(self.volume, 3)
        for action in (lambda: self.attach(self.volume, VMM),
                       lambda: self.driver.ensure_export('context',
                                                         self.volume)):
            action()
            self.assertEqual([self.device], self.overlays.repaired)
            self.assertEqual(2 << 30, self.overlays.sizes[self.device])
            # after a reboot of the backend only Cinder knows
            self.lio.__init__()
        self.detach(self.volume, VMM)
        self.attach(self.volume, VMM)
        self.assertEqual(2 * [self.device], self.overlays.repaired)
        self.assertEqual(3 << 30, self.overlays.sizes[self.device])

    def test_mode_stays(self):
        self.patch('cinder.volume.volume_types.get_volume_type_extra_specs',
                   return_value={})
        copy = fakes.Volume(fakes.OTHER)
        self.driver.create_cloned_volume(copy, self.volume)
        service = mock.Mock()
        service.show.return_value = test_images.META
        self.driver.copy_image_to_volume('context', self.volume, service,
                                         'image')
        for volume in copy, self.volume:
            self.assertEqual(connection.SnapshotMode.VMM,
                             self.driver._diff(volume.name).mode)

    def test_retype(self):
        there, other = ({'extra_specs': specs} for specs in (
            {'vmthunder:snapshot_mode': 'vmm', 'x': 'y'}, {}))
        with mock.patch.object(lvm.LVMVolumeDriver, 'retype',
                               return_value=True):
            for wanted, possible in (there, True), (other, False):
                self.assertEqual(possible, self.driver.retype(
                    'context', self.volume, wanted, {}, {}))


class AssembledTest(test_driver.DriverTestCase):
    """Hosts that can't assemble a volume get a plain one."""

    def setUp(self):
        super().setUp()
        self.volume = fakes.Volume()
        self.create(self.volume)
        self.iqn = f'{fakes.PREFIX}{self.volume.name}'
        self.plain = fakes.connector('p', vmthunder=None)

    def devices(self):
        return list(assembly.dm.devices)

    def test_connection(self):
        info = self.attach(self.volume, self.plain)
        self.assertEqual('iscsi', info['driver_volume_type'])
        self.assertEqual(self.iqn, info['data']['target_iqn'])
        self.assertEqual(
            self.db.volumes[fakes.VOLUME]['provider_auth'].split()[-1],
            info['data']['auth_password'])
        (target,) = self.lio.targets.values()
        self.assertEqual(
            f'/dev/mapper/vmthunder-assembly-{self.volume.name}',
            target.device)
        self.assertIsNone(target.product)
        self.assertEqual([self.plain['initiator']],
                         list(self.lio.acls[self.iqn]))

    def test_other_wwid_than_the_diff(self):
        self.attach(self.volume, self.plain)
        (target,) = self.lio.targets.values()
        self.assertNotEqual(fakes.VOLUME, target.unique_id)

    def test_backends_own_host(self):
        own = fakes.connector(cfg.CONF.host)
        info = self.attach(self.volume, own)
        self.assertEqual('iscsi', info['driver_volume_type'])

    def test_detach_leaves_nothing(self):
        before = set(self.lvm.volumes)
        self.attach(self.volume, self.plain)
        self.detach(self.volume, self.plain)
        self.assertEqual({}, self.lio.targets)
        self.assertEqual([], self.devices())
        self.assertEqual(before, set(self.lvm.volumes))

    def test_one_host_at_a_time(self):
        other = fakes.connector('q', vmthunder=None)
        for first, second in ((self.plain, other), (self.plain, A),
                              (A, self.plain)):
            self.attach(self.volume, first)
            before = dict(self.lio.targets), self.devices()
            with self.assertRaises(exception.AttachedElsewhere) as caught:
                self.attach(self.volume, second)
            self.assertIn(first['host'], caught.exception.msg)
            self.driver.remove_export('context', self.volume)
            self.assertEqual(before, (self.lio.targets, self.devices()))
            self.detach(self.volume, first)

    def test_one_after_the_other(self):
        for host in (self.plain, A, self.plain):
            self.attach(self.volume, host)
            self.detach(self.volume, host)
        self.assertEqual({}, self.lio.targets)

    def test_export_that_a_crash_left(self):
        self.driver.create_export('context', self.volume, A)
        self.lio.acls[self.iqn].clear()
        self.attach(self.volume, self.plain)
        self.assertIn('assembly', self.lio.targets[self.iqn].device)
        self.lio.acls[self.iqn].clear()
        self.attach(self.volume, A)
        self.assertEqual(f'/dev/vg/{self.volume.name}',
                         self.lio.targets[self.iqn].device)
        self.assertEqual([], self.devices())

    def test_failed_connection_leaves_nothing(self):
        with mock.patch.object(targets.AssemblyTarget,
                               'initialize_connection',
                               side_effect=ValueError):
            self.assertRaises(ValueError, self.attach, self.volume,
                              self.plain)
        self.assertEqual({}, self.lio.targets)
        self.assertEqual([], self.devices())

    def test_restart_after_reboot(self):
        self.attach(self.volume, self.plain)
        acls = dict(self.lio.acls)
        self.lio.__init__()
        assembly.dm.devices.clear()
        self.driver = self.make()
        self.driver.ensure_export('context', self.volume)
        self.assertEqual(acls, self.lio.acls)
        self.assertIn('assembly', self.lio.targets[self.iqn].device)
        self.assertEqual(2, len(self.devices()))

    def test_extend(self):
        self.attach(self.volume, self.plain)
        self.driver.extend_volume(self.volume, 3)
        self.assertEqual([3 << 21, 3 << 21], [
            table[-1].start + table[-1].length
            for table in assembly.dm.devices.values()])

    def test_delete(self):
        self.attach(self.volume, self.plain)
        self.driver.delete_volume(self.volume)
        self.assertEqual([self.template().name], list(self.lvm.volumes))
        self.assertEqual([], self.devices())

    def test_upload(self):
        self.attach(self.volume, A)
        with mock.patch('cinder.volume.volume_utils.upload_volume') as upload:
            upload.side_effect = lambda *_: self.seen.append(self.devices())
            self.seen = []
            self.driver.copy_volume_to_image('context', self.volume,
                                             'service', {'id': 'image'})
        context, service, meta, path, volume = upload.call_args[0]
        self.assertEqual(['context', 'service', {'id': 'image'}, self.volume],
                         [context, service, meta, volume])
        self.assertRegex(path, '^/dev/mapper/vmthunder-assembly-view-')
        self.assertEqual(2, len(self.seen[0]))
        self.assertEqual([], self.devices())

    def test_what_a_crash_left_goes_with_the_statistics(self):
        before = set(self.lvm.volumes)
        diff = self.driver._diff(self.volume.name)
        self.driver._assemblies.build(diff)
        self.driver._diffs.copy(diff, 'replacement-' + diff.name, 2 << 30)
        self.driver._update_volume_stats()
        self.assertEqual(before, set(self.lvm.volumes))
