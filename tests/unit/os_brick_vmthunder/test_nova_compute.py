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

"""What nova-compute makes of the registration as it starts.

Each test is a process that starts as nova-compute does, up to the import of
Nova's own libvirt driver, and ends there.
"""

import importlib.util
import json
import pathlib
import subprocess
import sys

import fixtures
import testtools

from os_brick_vmthunder import registration

SOURCE = pathlib.Path(__file__).parents[3]
TABLE = 'VOLUME_DRIVERS'

# Arguments: a configuration file of Nova, the libvirt driver's source.
START = '''
import importlib.util, json, sys
from os_brick_vmthunder import registration

class Source:
    def find_spec(self, name, path=None, target=None):
        if name == 'nova.virt.libvirt.driver':
            return importlib.util.spec_from_file_location(name, sys.argv[2])

registration.install()
sys.meta_path.insert(1, Source())

from nova import config
import nova.conf
from nova.virt import driver as virt
from oslo_log import log as logging
from oslo_utils import importutils

config.parse_args(['nova-compute', '--config-file', sys.argv[1]])
logging.setup(nova.conf.CONF, 'nova')
importutils.import_class('nova.virt.' + nova.conf.CONF.compute_driver)

from nova.virt.libvirt import driver
from os_brick.initiator import connector
name = getattr(driver, 'VOLUME_DRIVERS', {}).get('vmthunder')
print(json.dumps([name and importutils.import_class(name).__name__,
                  registration.CONNECTOR in connector.unix_connector_list]))
'''


class NovaComputeTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(fixtures.EnvironmentVariable(registration.SWITCH))
        self.log = self.path / 'nova-compute.log'
        (self.path / 'nova.conf').write_text(
            f'[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n'
            f'log_file = {self.log}\n')
        # found without importing it, or what is above it
        package = importlib.util.find_spec('nova').origin
        self.driver = pathlib.Path(package).parent / 'virt/libvirt/driver.py'

    def start(self, change):
        source = self.driver.read_text()
        self.assertIn(f'\n{TABLE} = {{', source)
        changed = self.path / 'driver.py'
        changed.write_text(change(source))
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', START,
             self.path / 'nova.conf', changed],
            cwd=SOURCE, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    def test_nova_as_it_is(self):
        self.assertEqual(['LibvirtVMThunderVolumeDriver', True],
                         self.start(lambda source: source))
        self.assertNotIn('VMThunder', self.log.read_text())

    def test_nova_with_a_table_elsewhere(self):
        self.assertEqual([None, False], self.start(
            lambda source: source.replace(TABLE, 'DRIVERS')))
        line, = [line for line in self.log.read_text().splitlines()
                 if 'VMThunder' in line]
        self.assertIn(' ERROR os_brick_vmthunder.registration ', line)
        self.assertIn(TABLE, line)
        self.assertIn('install one', line)
