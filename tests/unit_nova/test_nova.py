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

from lxml import etree
from nova.compute import task_states
from nova.virt.libvirt import config as libvirt_config
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import migration
from os_brick.initiator import connector
from oslo_utils import importutils

from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder import modes
from os_brick_vmthunder import registration
from tests.unit.os_brick_vmthunder import test_connection

INSTANCE = mock.Mock(task_state=task_states.SPAWNING)
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
        self.use(test_connection.make())

    def use(self, volume):
        self.data = volume.to_dict()
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
        self.driver.connect_volume(self.info, INSTANCE)
        self.connector.connect_volume.assert_called_once_with(self.data)
        self.assertEqual(PATH, self.info['data']['device_path'])
        self.connector.grow_volume.assert_called_once_with(self.data)

    def test_connect_while_the_guest_runs_elsewhere(self):
        self.driver.connect_volume(
            self.info, mock.Mock(task_state=task_states.MIGRATING))
        self.connector.connect_volume.assert_called_once_with(self.data)
        self.connector.grow_volume.assert_not_called()

    def test_failures_tell_what_to_do(self):
        failure = exception.ConfigurationError(reason='no multipathd')
        for method, arguments in (('connect_volume', ()),
                                  ('disconnect_volume', ()),
                                  ('extend_volume', (0,))):
            with self.subTest(method):
                getattr(self.connector, method).side_effect = failure
                with self.assertRaises(exception.ConfigurationError) as got:
                    getattr(self.driver, method)(
                        self.info, INSTANCE, *arguments)
                self.assertIs(failure, got.exception)

    def test_disconnect(self):
        for force in (False, True):
            with self.subTest(force):
                self.driver.disconnect_volume(
                    self.info, INSTANCE, force=force)
                self.connector.disconnect_volume.assert_called_with(
                    self.data, None, force=force)

    def test_extend(self):
        self.connector.extend_volume.return_value = 3 << 30
        self.assertEqual(3 << 30, self.driver.extend_volume(
            self.info, INSTANCE, 5 << 30))
        self.connector.extend_volume.assert_called_once_with(self.data)

    def test_disk(self):
        self.driver.connect_volume(self.info, INSTANCE)
        disk = self.config({})
        self.assertEqual('block', disk.get('type'))
        self.assertEqual(PATH, disk.find('source').get('dev'))
        self.assertEqual(test_connection.VOLUME, disk.findtext('serial'))
        # no host cache unless Nova is told to; no I/O in QEMU's main loop
        self.assertEqual({'name': 'qemu', 'type': 'raw', 'cache': 'none'},
                         dict(disk.find('driver').attrib))
        self.assertIsNone(disk.find('backingStore'))

    def test_cache_mode_is_what_nova_is_told(self):
        self.driver.connect_volume(self.info, INSTANCE)
        disk = self.config({'block': 'directsync'})
        self.assertEqual('directsync', disk.find('driver').get('cache'))


class OverlayTest(VolumeDriverTest):
    """A volume in vmm mode: a qcow2 overlay, and its backing file."""

    CHAIN = [('backingStore', {'type': 'block'}),
             ('format', {'type': 'raw'}),
             ('source', {'dev': f'{PATH}-origin'}),
             ('backingStore', {})]

    def setUp(self):
        super().setUp()
        self.use(test_connection.make(mode=connection.SnapshotMode.VMM))

    def chain(self, disk):
        store, = disk.findall('backingStore')
        return [(part.tag, dict(part.attrib)) for part in store.iter()]

    def test_disk(self):
        self.driver.connect_volume(self.info, INSTANCE)
        disk = self.config({})
        self.assertEqual('block', disk.get('type'))
        self.assertEqual(PATH, disk.find('source').get('dev'))
        self.assertEqual({'name': 'qemu', 'type': 'qcow2', 'cache': 'none'},
                         dict(disk.find('driver').attrib))
        self.assertEqual(test_connection.VOLUME, disk.findtext('serial'))
        self.assertEqual(self.CHAIN, self.chain(disk))

    def test_nova_reads_what_it_wrote(self):
        self.driver.connect_volume(self.info, INSTANCE)
        found = libvirt_config.LibvirtConfigGuestDisk()
        found.parse_dom(self.config({}))
        self.assertEqual(('qcow2', PATH), (found.driver_format,
                                           found.source_path))
        self.assertEqual('block', found.backing_store.source_type)

    def test_live_migration(self):
        """The old host is asked for the disk that the new one has."""
        domain = etree.XML(f"""
            <domain><devices><disk type="block" device="disk">
            <driver name="qemu" type="qcow2" cache="none"/>
            <source dev="/dev/mapper/old" index="1"/>
            <backingStore type="block" index="3"><format type="raw"/>
            <source dev="/dev/mapper/old-origin"/><backingStore/>
            </backingStore><target dev="vda" bus="virtio"/>
            <serial>{test_connection.VOLUME}</serial>
            <address type="pci" slot="0x04"/></disk></devices></domain>""")
        self.info['data']['device_path'] = PATH
        there = mock.Mock(serial=test_connection.VOLUME,
                          connection_info=self.info)
        there.as_disk_info.return_value = DISK
        there.obj_attr_is_set.return_value = False
        migration._update_volume_xml(
            domain, mock.Mock(bdms=[there]), None, self.driver.get_config)
        disk = domain.find('./devices/disk')
        self.assertEqual(PATH, disk.find('source').get('dev'))
        self.assertEqual(self.CHAIN, self.chain(disk))
        self.connector.connect_volume.assert_not_called()

    def test_is_offered(self):
        self.assertIn(connection.SnapshotMode.VMM, modes.offered())
