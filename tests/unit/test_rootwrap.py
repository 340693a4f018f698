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

"""The rootwrap filters let our privileged process start, and nothing else.

oslo.rootwrap itself has a filter behind all others that lets any start.
"""

import pathlib
import unittest
from unittest import mock

import ddt
import fixtures
from oslo_config import cfg
from oslo_privsep import priv_context
from oslo_rootwrap import wrapper

from os_brick_vmthunder import privileged

ETC = pathlib.Path(__file__).parents[2] / 'etc'
SERVICES = 'nova', 'cinder', 'glance'
NAME = 'privsep-rootwrap-vmthunder'
CONTEXT = 'os_brick_vmthunder.privileged.default'


@ddt.ddt
class RootwrapTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = fixtures.TempDir()
        directory.setUp()
        self.addCleanup(directory.cleanUp)
        self.programs = directory.path
        program = pathlib.Path(directory.path, 'privsep-helper')
        program.write_text('')
        program.chmod(0o755)

    def patch(self, *args, **kwargs):
        patch = mock.patch.object(*args, **kwargs)
        patch.start()
        self.addCleanup(patch.stop)

    def command(self, service):
        """Return what oslo.privsep runs in a service as deployed."""
        prefix = ['sudo', f'{service}-rootwrap',
                  f'/etc/{service}/rootwrap.conf']
        self.patch(priv_context, '_HELPER_COMMAND_PREFIX', prefix)
        self.patch(cfg.CONF, 'config_file', [f'/etc/{service}/{service}.conf'],
                   create=True)
        self.patch(cfg.CONF, 'config_dir', None, create=True)
        command = privileged.default.helper_command(
            '/tmp/tmp1x2y3z/privsep.sock')
        self.assertEqual(prefix, command[:3])
        return command[3:]

    def filters(self, service):
        return wrapper.load_filters([str(ETC / service / 'rootwrap.d')])

    @ddt.data(*SERVICES)
    def test_our_process(self, service):
        command = self.command(service)
        found = wrapper.match_filter(self.filters(service), command,
                                     exec_dirs=[self.programs])
        self.assertEqual(NAME, found.name)
        self.assertEqual(
            [f'{self.programs}/privsep-helper', *command[1:]],
            found.get_command(command, exec_dirs=[self.programs]))
        self.assertEqual('root', found.run_as)

    @ddt.data(*SERVICES)
    def test_nothing_else(self, service):
        command = self.command(service)
        for given, instead in ((CONTEXT, 'os.privileged.default'),
                               (f'/etc/{service}/{service}.conf',
                                '/etc/../tmp/mine.conf'),
                               ('privsep-helper', 'sh')):
            with self.subTest(instead):
                other = [instead if word == given else word
                         for word in command]
                filters = [found for found in self.filters(service)
                           if found.name == NAME]
                self.assertRaises(wrapper.NoFilterMatched,
                                  wrapper.match_filter, filters, other,
                                  exec_dirs=[self.programs])
