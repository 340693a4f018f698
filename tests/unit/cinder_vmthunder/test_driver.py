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

"""Tests of the driver as Cinder calls it."""

import contextlib
import unittest
from unittest import mock

from cinder import exception as cinder_exception
from cinder.volume.drivers import lvm
import ddt
from oslo_concurrency import processutils
from oslo_config import cfg

from cinder_vmthunder import checks
from cinder_vmthunder import driver
from cinder_vmthunder import exception
from cinder_vmthunder import images
from cinder_vmthunder import templates
from cinder_vmthunder import volumegroup
from os_brick_vmthunder import connection
from tests.unit.cinder_vmthunder import fakes
from tests.unit.cinder_vmthunder import test_images

A, B = fakes.connector('a'), fakes.connector('b')
MIB = 1 << 20


class DriverTestCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.lvm, self.lio = self.stack.enter_context(fakes.world())
        self.patch('cinder.utils.execute',
                   lambda *command, **_keywords: self.lvm(*command))
        self.patch('cinder_vmthunder.templates.blockdev')
        self.zero = self.patch('cinder_vmthunder.diffs.blockdev').zero
        self.patch('cinder_vmthunder.images.data_size', return_value=MIB)
        self.patch('cinder_vmthunder.images.write')
        self.must_verify = self.patch(
            'cinder_vmthunder.images.must_verify', return_value=False)
        self.fetched = images.Fetched('/tmp/i', 'raw', 100 * MIB, None)
        self.patch('cinder_vmthunder.images.Image.fetch', self.fetch)
        self.patch('time.sleep')
        self.db = fakes.Database()
        self.patch('cinder.volume.targets.driver.db', self.db)
        self.driver = self.make()

    def patch(self, name, *args, **keywords):
        return self.stack.enter_context(mock.patch(name, *args, **keywords))

    @contextlib.contextmanager
    def fetch(self):
        yield self.fetched

    def make(self, retention=1000, **values):
        def base_init(instance, **keywords):
            instance.configuration = keywords['configuration']
            instance.db = self.db
            instance._execute = None
            instance.target_mapping = {
                'lioadm': 'cinder.volume.targets.lio.LioAdm'}

        with mock.patch('cinder.volume.driver.BaseVD.__init__', base_init):
            return driver.VMThunderDriver(
                configuration=fakes.backend(
                    vmthunder_template_retention=retention,
                    vmthunder_chunk_size=16, lvm_share_target=False,
                    **values))

    def create(self, volume=None, **meta):
        return self.driver.clone_image(
            'context', volume or fakes.Volume(), None,
            {**test_images.META, **meta}, mock.Mock())

    def attach(self, volume, connector):
        """As the manager does."""
        update = self.driver.create_export('context', volume, connector)
        vars(volume).update(update)
        self.db.volumes[volume.id] = {
            'provider_auth': update['provider_auth']}
        try:
            info = self.driver.initialize_connection(volume, connector)
        except Exception:
            self.driver.remove_export('context', volume)
            raise
        volume.attach(connector)
        return info

    def detach(self, volume, connector):
        if not self.driver.terminate_connection(volume, connector):
            self.driver.remove_export('context', volume)
        volume.attach()

    def template(self):
        (template,) = templates.find(
            volumegroup.VolumeGroup('vg').volumes())
        return template


@ddt.ddt
class CreateTest(DriverTestCase):

    def test_clone_image(self):
        self.assertEqual(({}, True), self.create())
        name = f'volume-{fakes.VOLUME}'
        self.assertEqual(
            {f'template={self.template().id}', 'chunk=16',
             f'template-size={100 * MIB}'}, self.lvm.tags(name))
        self.assertLess(2 << 30, self.lvm.volumes[name][0])
        self.zero.assert_called_once_with(f'/dev/vg/{name}', 8192)
        self.db.volume_glance_metadata_bulk_create.assert_not_called()

    def test_two_volumes_share_a_template(self):
        self.create()
        self.create(fakes.Volume(fakes.OTHER))
        self.assertEqual(3, len(self.lvm.volumes))

    def test_signature_is_noted(self):
        self.must_verify.return_value = True
        self.fetched = images.Fetched('/tmp/i', 'raw', 100 * MIB, True)
        self.create(properties={'img_signature': 'x'})
        self.db.volume_glance_metadata_bulk_create.assert_called_once_with(
            'context', fakes.VOLUME, {'signature_verified': True})

    @ddt.data(
        ({}, {'cinder_encryption_key_id': 'x'}),
        ({}, {'checksum': None, 'os_hash_value': None}),
        ({'multiattach': True}, {}))
    @ddt.unpack
    def test_left_to_the_ordinary_path(self, values, meta):
        self.assertEqual((None, False),
                         self.create(fakes.Volume(**values), **meta))
        self.assertEqual({}, self.lvm.volumes)

    def test_failure_is_told(self):
        error = cinder_exception.ImageTooBig(image_id='x', reason='y')
        with mock.patch.object(images.message_api, 'API') as api, \
                mock.patch.object(templates.Templates, '_import',
                                  side_effect=error):
            self.assertRaises(cinder_exception.ImageTooBig, self.create)
        api.return_value.create.assert_called_once()

    def test_delete(self):
        volume = fakes.Volume()
        self.create(volume)
        self.driver.delete_volume(volume)
        self.assertEqual([self.template().name], list(self.lvm.volumes))
        with mock.patch.object(lvm.LVMVolumeDriver, 'delete_volume') as base:
            self.driver.delete_volume(volume)
        base.assert_called_once_with(volume)

    def test_delete_without_retention(self):
        self.driver = self.make(retention=0)
        volume = fakes.Volume()
        self.create(volume)
        self.driver.delete_volume(volume)
        self.assertEqual({}, self.lvm.volumes)

    def test_delete_while_hosts_still_have_access(self):
        volume = fakes.Volume()
        self.create(volume)
        self.attach(volume, A)
        self.driver.delete_volume(volume)
        self.assertEqual({}, self.lio.targets)


class AttachTest(DriverTestCase):

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
        self.assertEqual(100 * MIB, contract.template.size)
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

    def test_connector_without_vmthunder(self):
        for connector in (fakes.connector('a', vmthunder=None), {}, None):
            with self.assertRaises(exception.ConnectorNotSupported) as caught:
                self.attach(self.volume, connector)
        self.assertIn('Install the vmthunder package', caught.exception.msg)
        self.assertEqual({}, self.lio.targets)

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


@ddt.ddt
class PlainTest(DriverTestCase):
    """A plain volume is the LVM driver's; a diff can't do everything."""

    OPERATIONS = (
        ('create_snapshot', lambda volume: [
            mock.MagicMock(volume=volume)]),
        ('create_volume_from_snapshot', lambda volume: [
            fakes.Volume(fakes.OTHER), mock.MagicMock(volume=volume)]),
        ('revert_to_snapshot', lambda volume: ['context', volume, 'snap']),
        ('create_cloned_volume', lambda volume: [
            fakes.Volume(fakes.OTHER), volume]),
        ('extend_volume', lambda volume: [volume, 3]),
        ('copy_image_to_volume', lambda volume: [
            'context', volume, 'service', 'image', False]),
        ('copy_volume_to_image', lambda volume: [
            'context', volume, 'service', {}]),
        ('retype', lambda volume: ['context', volume, 'type', {}, 'host']),
        ('migrate_volume', lambda volume: ['context', volume, 'host']),
        ('unmanage', lambda volume: [volume]),
    )
    ATTACHMENTS = (
        ('create_export', lambda volume: ['context', volume, A, None]),
        ('ensure_export', lambda volume: ['context', volume]),
        ('remove_export', lambda volume: ['context', volume]),
        ('initialize_connection', lambda volume: [volume, A]),
        ('terminate_connection', lambda volume: [volume, A]),
        ('delete_volume', lambda volume: [volume]),
    )

    @ddt.data(*OPERATIONS)
    @ddt.unpack
    def test_diff_is_refused(self, name, arguments):
        volume = fakes.Volume()
        self.create(volume)
        before = str(self.lvm.volumes)
        with mock.patch.object(lvm.LVMVolumeDriver, name) as base:
            with self.assertRaises(exception.NotSupported) as caught:
                getattr(self.driver, name)(*arguments(volume))
        base.assert_not_called()
        self.assertIn(fakes.VOLUME, caught.exception.msg)
        self.assertEqual(before, str(self.lvm.volumes))

    @ddt.data(*OPERATIONS, *ATTACHMENTS)
    @ddt.unpack
    def test_plain_is_inherited(self, name, arguments):
        arguments = arguments(fakes.Volume())
        with mock.patch.object(lvm.LVMVolumeDriver, name) as base:
            result = getattr(self.driver, name)(*arguments)
        base.assert_called_once_with(*arguments)
        self.assertIn(result, (base.return_value, None))
        self.assertEqual({}, self.lio.targets)

    def test_manage(self):
        self.create()
        for name in list(self.lvm.volumes):
            with self.assertRaises(
                    cinder_exception.ManageExistingInvalidReference):
                self.driver.manage_existing_get_size(
                    fakes.Volume(), {'source-name': name})
        with mock.patch.object(
                lvm.LVMVolumeDriver, 'manage_existing_object_get_size',
                return_value=5):
            for reference in ({'source-name': 'plain'}, {}):
                self.assertEqual(5, self.driver.manage_existing_get_size(
                    fakes.Volume(), reference))

    def test_manageable(self):
        self.create()
        names = [*self.lvm.volumes, 'plain']
        entries = [{'reference': {'source-name': name},
                    'safe_to_manage': True, 'reason_not_safe': None}
                   for name in names]
        with mock.patch.object(
                lvm.LVMVolumeDriver, '_get_manageable_resource_info',
                return_value=entries):
            found = self.driver.get_manageable_volumes([], None, 9, 0, [], [])
        self.assertEqual([False, False, True],
                         [entry['safe_to_manage'] for entry in found])


@ddt.ddt
class SetupTest(DriverTestCase):

    def setUp(self):
        super().setUp()
        self.qemu = self.patch(
            'cinder.image.image_utils.check_qemu_img_version')
        self.base = self.patch('cinder.volume.drivers.lvm.LVMVolumeDriver.'
                               'check_for_setup_error')

    def check(self):
        self.driver.check_for_setup_error()

    def assertNotReady(self, *words):
        with self.assertRaises(exception.BackendNotReady) as caught:
            self.check()
        for word in words:
            self.assertIn(word, caught.exception.msg)

    def test_ready(self):
        self.check()
        self.base.assert_called_once_with()
        self.qemu.assert_called_once()

    @ddt.data(('target_helper', 'tgtadm', 'set target_helper = lioadm'),
              ('target_protocol', 'nvmet_tcp', 'target_protocol = iscsi'),
              ('lvm_type', 'default', 'set lvm_type = thin'))
    @ddt.unpack
    def test_option(self, name, value, words):
        values = {'target_helper': 'lioadm', 'target_protocol': 'iscsi',
                  'lvm_type': 'thin', name: value}
        self.driver.configuration.safe_get = values.get
        self.assertNotReady(words, value)
        self.base.assert_not_called()

    @ddt.data('10.0.0.0/33', 'storage')
    def test_relay_networks(self, network):
        self.driver.configuration.vmthunder_relay_networks = [network]
        self.assertNotReady(network, 'vmthunder_relay_networks')
        self.base.assert_not_called()

    def test_no_rtslib(self):
        with mock.patch.object(checks.importlib.util, 'find_spec',
                               return_value=None):
            self.assertNotReady('rtslib-fb', 'vmthunder[cinder]')

    def test_no_thin_pool(self):
        def resolve():
            self.driver.configuration.lvm_type = 'default'
        self.base.side_effect = resolve
        self.assertNotReady('vg-pool', 'lvcreate -T -l 95%FREE vg/vg-pool')

    def test_no_room_for_a_thin_pool(self):
        self.base.side_effect = processutils.ProcessExecutionError(
            stderr='insufficient free space')
        self.assertNotReady('insufficient free space', 'vg-pool')

    def test_lio_without_forks_is_behind_lioadm(self):
        self.assertEqual('cinder_vmthunder.targets.LIOTarget',
                         self.driver.target_mapping['lioadm'])
        self.assertIsInstance(self.driver.target_driver,
                              driver.targets.LIOTarget)

    def test_options(self):
        names = [option.name for option in
                 driver.VMThunderDriver.get_driver_options()]
        self.assertIn('vmthunder_template_retention', names)
        self.assertIn('volume_group', names)
        self.assertEqual(86400, cfg.CONF.backend_defaults
                         .vmthunder_template_retention)

    @ddt.data((None, 'VMThunder'), ('gold', 'gold'))
    @ddt.unpack
    def test_backend_name(self, option, name):
        self.assertEqual(name, self.make(
            volume_backend_name=option).backend_name)


class StatisticsTest(DriverTestCase):

    def update(self):
        def base(instance):
            instance._stats = {'pools': [{'pool_name': 'VMThunder'}]}
        with mock.patch.object(lvm.LVMVolumeDriver, '_update_volume_stats',
                               base):
            self.driver._update_volume_stats()
        return self.driver._stats['pools'][0]

    def test_pool(self):
        self.assertEqual(
            {'pool_name': 'VMThunder', 'vmthunder': True,
             'vmthunder_templates': 0, 'vmthunder_templates_gb': 0},
            self.update())
        self.create()
        self.lvm.used[self.template().name] = 50 * MIB
        self.assertEqual((1, 0.05), (
            self.update()['vmthunder_templates'],
            self.driver._stats['pools'][0]['vmthunder_templates_gb']))

    def test_templates_are_tidied_up_by_one_command(self):
        self.create()
        self.driver.delete_volume(fakes.Volume())
        self.update()
        self.assertIsNotNone(self.template().unused_since)
        self.lvm.commands.clear()
        self.update()
        self.assertEqual(1, len(self.lvm.commands))

    def test_group_that_is_not_there(self):
        with mock.patch.object(lvm.LVMVolumeDriver, '_update_volume_stats'):
            self.driver._stats = {}
            self.driver._update_volume_stats()
        self.assertEqual({}, self.driver._stats)
