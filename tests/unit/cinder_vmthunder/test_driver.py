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
import time
import types
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
from tests.unit.cinder_vmthunder import fakes
from tests.unit.cinder_vmthunder import test_images

A = fakes.connector('a')
MIB = 1 << 20


class Snapshot(types.SimpleNamespace):
    """As much of a snapshot as the driver looks at."""

    def __init__(self, volume):
        super().__init__(id='s', name='snapshot-s', volume=volume,
                         volume_name=volume.name, volume_size=volume.size)


class DriverTestCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.lvm, self.lio = self.stack.enter_context(fakes.world())
        self.patch('cinder.utils.execute',
                   lambda *command, **_keywords: self.lvm(*command))
        self.patch('os_brick_vmthunder.privileged.lvm.lvs',
                   lambda _environment, *words: self.lvm('lvs', *words))
        self.patch('cinder_vmthunder.templates.blockdev')
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
            instance.host, instance.cluster_name = 'host@backend', None
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
            {f'template={self.template().id}', 'chunk=16', 'mode=dm',
             f'template-size={100 * MIB}'}, self.lvm.tags(name))
        self.assertLess(2 << 30, self.lvm.volumes[name][0])
        driver.diffs.blockdev.zero.assert_called_once_with(
            f'/dev/vg/{name}', 8192)
        self.db.volume_glance_metadata_bulk_create.assert_not_called()

    def test_wrong_mode_is_refused_before_anything_is_made(self):
        self.patch('cinder.volume.volume_types.get_volume_type_extra_specs',
                   return_value={'vmthunder:snapshot_mode': 'x'})
        self.assertRaises(exception.InvalidSnapshotMode, self.create,
                          fakes.Volume(volume_type_id='t'))
        self.assertEqual({}, self.lvm.volumes)

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


@ddt.ddt
class PlainTest(DriverTestCase):
    """A plain volume is the LVM driver's."""

    @ddt.data(
        ('create_snapshot', lambda volume: [Snapshot(volume)]),
        ('delete_snapshot', lambda volume: [Snapshot(volume)]),
        ('create_volume_from_snapshot', lambda volume: [
            fakes.Volume(fakes.OTHER), Snapshot(volume)]),
        ('revert_to_snapshot', lambda volume: ['context', volume,
                                               Snapshot(volume)]),
        ('create_cloned_volume', lambda volume: [
            fakes.Volume(fakes.OTHER), volume]),
        ('extend_volume', lambda volume: [volume, 3]),
        ('copy_image_to_volume', lambda volume: [
            'context', volume, 'service', 'image', False]),
        ('copy_volume_to_image', lambda volume: [
            'context', volume, 'service', {}]),
        ('retype', lambda volume: ['context', volume, {'extra_specs': {}},
                                   {}, 'host']),
        ('migrate_volume', lambda volume: ['context', volume, 'host']),
        ('create_export', lambda volume: ['context', volume, A, None]),
        ('ensure_export', lambda volume: ['context', volume]),
        ('remove_export', lambda volume: ['context', volume]),
        ('initialize_connection', lambda volume: [volume, A]),
        ('terminate_connection', lambda volume: [volume, A]),
        ('delete_volume', lambda volume: [volume]))
    @ddt.unpack
    def test_inherited(self, name, arguments):
        arguments = arguments(fakes.Volume())
        with mock.patch.object(lvm.LVMVolumeDriver, name) as base:
            result = getattr(self.driver, name)(*arguments)
        base.assert_called_once_with(*arguments)
        self.assertIn(result, (base.return_value, None))
        self.assertEqual({}, self.lio.targets)


@ddt.ddt
class SetupTest(DriverTestCase):

    def setUp(self):
        super().setUp()
        self.qemu = self.patch(
            'cinder.image.image_utils.check_qemu_img_version')
        self.base = self.patch('cinder.volume.drivers.lvm.LVMVolumeDriver.'
                               'check_for_setup_error')
        self.busy = self.patch('cinder_vmthunder.attachments.Attachments.'
                               'of_busy_volumes', return_value=[])

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
              ('lvm_type', 'default', 'set lvm_type = thin'),
              ('lvm_mirrors', 1, 'set lvm_mirrors = 0'))
    @ddt.unpack
    def test_option(self, name, value, words):
        values = {'target_helper': 'lioadm', 'target_protocol': 'iscsi',
                  'lvm_type': 'thin', 'lvm_mirrors': 0, name: value}
        self.driver.configuration.safe_get = values.get
        self.assertNotReady(words, f'{name} is {value}')
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

    def test_busy_volumes_are_exported_again(self):
        volumes = [fakes.Volume(), fakes.Volume(fakes.OTHER)]
        self.busy.return_value = volumes
        with mock.patch.object(driver.VMThunderDriver, 'ensure_export',
                               side_effect=ValueError) as ensure, \
                self.assertLogs(driver.LOG.logger, 'ERROR'):
            self.check()
        self.busy.assert_called_once_with('host@backend', None)
        self.assertEqual(volumes, [call[0][1] for call in
                                   ensure.call_args_list])

    def test_pool_that_does_not_zero(self):
        self.lvm.pool_attributes = 'twi-aot---'
        self.assertNotReady('lvchange --zero y vg/vg-pool')

    def test_huge_extents(self):
        self.lvm.extent = 2 << 30
        self.assertNotReady('extents of 2 GiB')

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
        self.lvm.commands.clear()
        self.driver._update_volume_stats()
        return self.driver._stats['pools'][0]

    def test_what_is_overdue_goes(self):
        self.create()
        self.driver.delete_volume(fakes.Volume())
        self.assertEqual(1, self.update()['vmthunder_templates'])
        self.assertIsNotNone(self.template().unused_since)
        self.update()
        self.assertEqual([['lvs']], [command[:1] for command in
                                     self.lvm.commands])
        with mock.patch('time.time', return_value=time.time() + 1001):
            self.update()
        self.assertEqual(0, self.update()['vmthunder_templates'])

    def test_group_that_is_not_there(self):
        self.lvm.fail['lvs'] = 'Volume group "vg" not found'
        self.assertRaises(exception.VolumeGroupFailed, self.update)
        self.assertEqual({}, self.driver._stats)
