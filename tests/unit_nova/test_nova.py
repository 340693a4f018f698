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

import unittest
from unittest import mock

from nova.virt.libvirt import driver as libvirt_driver
from os_brick.initiator import connector
from oslo_utils import importutils

from os_brick_vmthunder import exception
from os_brick_vmthunder import registration
from tests.unit.os_brick_vmthunder import test_connection

DISK = {'type': 'disk', 'dev': 'vda', 'bus': 'virtio'}
PATH = f'/dev/mapper/vmthunder-{test_connection.VOLUME}'


class VolumeDriverTest(unittest.TestCase):
    """Nova's own code around the driver; os-brick's connector is a mock."""

    def setUp(self):
        super().setUp()
        patch = mock.patch.object(connector.InitiatorConnector, 'factory')
        self.factory = patch.start()
        self.addCleanup(patch.stop)
        self.connector = self.factory.return_value
        self.connector.connect_volume.return_value = {'type': 'block',
                                                      'path': PATH}
        self.host = mock.Mock()
        self.host.find_secret.return_value = None
        self.driver = importutils.import_object(registration.NOVA_DRIVER,
                                                self.host)
        self.data = test_connection.make().to_dict()
        self.info = {'driver_volume_type': 'vmthunder', 'data': self.data,
                     'serial': test_connection.VOLUME}

    def config(self, cachemodes):
        """Return the disk as Nova gives it to libvirt."""
        nova = mock.Mock(disk_cachemodes=cachemodes)
        nova._get_volume_driver.return_value = self.driver
        nova._set_cache_mode = (
            lambda conf: libvirt_driver.LibvirtDriver._set_cache_mode(
                nova, conf))
        return libvirt_driver.LibvirtDriver._get_volume_config(
            nova, self.info, DISK).format_dom()

    def test_connector(self):
        self.factory.assert_called_once_with(
            'vmthunder', mock.ANY, device_scan_attempts=mock.ANY)
        self.assertIn('nova-rootwrap', self.factory.call_args.args[1])

    def test_connect(self):
        self.driver.connect_volume(self.info, mock.sentinel.instance)
        self.connector.connect_volume.assert_called_once_with(self.data)
        self.assertEqual(PATH, self.info['data']['device_path'])

    def test_failures_tell_what_to_do(self):
        failure = exception.ConfigurationError(reason='no multipathd')
        for method, arguments in (('connect_volume', ()),
                                  ('disconnect_volume', ()),
                                  ('extend_volume', (0,))):
            with self.subTest(method):
                getattr(self.connector, method).side_effect = failure
                with self.assertRaises(exception.ConfigurationError) as got:
                    getattr(self.driver, method)(
                        self.info, mock.sentinel.instance, *arguments)
                self.assertIs(failure, got.exception)

    def test_disconnect(self):
        for force in (False, True):
            with self.subTest(force):
                self.driver.disconnect_volume(
                    self.info, mock.sentinel.instance, force=force)
                self.connector.disconnect_volume.assert_called_with(
                    self.data, None, force=force)

    def test_extend(self):
        self.connector.extend_volume.return_value = 3 << 30
        self.assertEqual(3 << 30, self.driver.extend_volume(
            self.info, mock.sentinel.instance, 5 << 30))
        self.connector.extend_volume.assert_called_once_with(self.data)

    def test_disk(self):
        self.driver.connect_volume(self.info, mock.sentinel.instance)
        disk = self.config({})
        self.assertEqual('block', disk.get('type'))
        self.assertEqual(PATH, disk.find('source').get('dev'))
        self.assertEqual(test_connection.VOLUME, disk.findtext('serial'))
        # no host cache unless Nova is told to; no I/O in QEMU's main loop
        self.assertEqual({'name': 'qemu', 'type': 'raw', 'cache': 'none'},
                         dict(disk.find('driver').attrib))
        self.assertIsNone(disk.find('backingStore'))

    def test_cache_mode_is_what_nova_is_told(self):
        self.driver.connect_volume(self.info, mock.sentinel.instance)
        disk = self.config({'block': 'directsync'})
        self.assertEqual('directsync', disk.find('driver').get('cache'))
