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

import os
import tempfile
import unittest
from unittest import mock

import ddt
from oslo_config import cfg

from os_brick_vmthunder import conf
from os_brick_vmthunder import exception


@ddt.ddt
class ConfTest(unittest.TestCase):

    def load(self, text):
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as file:
            file.write(text)
            file.flush()
            return conf.load(file.name)

    def test_without_a_file_the_defaults_hold(self):
        self.assertEqual(conf.HostConfig(file='/nowhere/vmthunder.conf'),
                         conf.load('/nowhere/vmthunder.conf'))

    def test_values(self):
        loaded = self.load('[DEFAULT]\n'
                           'cache = none\n'
                           'cache_device = /dev/nvme0n1\n'
                           'cache_size_gb = 7\n'
                           'state_dir = /srv/vmthunder\n'
                           'relay_port = 0\n'
                           'zone = hall-3\n')
        self.assertEqual(
            ('none', '/dev/nvme0n1', 7 << 30, '/srv/vmthunder', 0, 'hall-3'),
            (loaded.cache, loaded.cache_device, loaded.cache_size,
             loaded.state_dir, loaded.relay_port, loaded.zone))

    @ddt.data(('cache = dmcache', 'cache'),
              ('cache_size_gb = much', 'cache_size_gb'),
              ('cache_size_gb = 0', 'cache_size_gb'),
              ('opencas_cache_id = 0', 'opencas_cache_id'),
              ('relay_port = 65536', 'relay_port'),
              ('relay_linger = -1', 'relay_linger'),
              ('cache_device = nvme0n1', 'cache_device is nvme0n1'),
              ('state_dir = state', 'state_dir is state'))
    @ddt.unpack
    def test_wrong_values(self, line, named):
        with self.assertRaises(exception.ConfigurationError) as caught:
            self.load(f'[DEFAULT]\n{line}\n')
        self.assertIn(named, str(caught.exception))
        self.assertIn('.conf', str(caught.exception))

    def test_a_file_that_cannot_be_parsed(self):
        with self.assertRaisesRegex(exception.ConfigurationError, '.conf'):
            self.load('nonsense')

    def test_a_file_that_cannot_be_read(self):
        with mock.patch('builtins.open',
                        side_effect=PermissionError(13, 'denied')):
            with self.assertRaisesRegex(exception.ConfigurationError,
                                        'x.conf: it cannot be read'):
                conf.load('/etc/x.conf')

    def test_a_directory_instead_of_a_file(self):
        with tempfile.TemporaryDirectory() as path:
            with self.assertRaisesRegex(exception.ConfigurationError, path):
                conf.load(path)

    def test_the_process_own_configuration_is_left_alone(self):
        self.load('[DEFAULT]\ncache = none\n')
        self.assertNotIn('cache_file', cfg.CONF)

    def test_every_option_has_help(self):
        ((group, options),) = conf.list_opts()
        self.assertEqual('DEFAULT', group)
        for option in options:
            self.assertTrue(option.help, option.name)

    def test_defaults_agree(self):
        loaded = conf.load(os.devnull + '.none')
        self.assertEqual(conf.HostConfig(file=loaded.file), loaded)
