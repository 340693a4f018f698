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

"""Cinder's own rootwrap filters let all commands run that need root.

So an operator has none to add but the one for our privileged process.
"""

from importlib import metadata
import pathlib
import unittest
from unittest import mock

import ddt
import fixtures
from oslo_rootwrap import wrapper

from cinder_vmthunder import images
from cinder_vmthunder import volumegroup

IMAGE = images.Fetched('/var/lib/cinder/conversion/i', 'qcow2', 1 << 20, None)


def cinders_filters():
    """Return the filters that Cinder installs."""
    (file,) = (found for found in metadata.files('cinder')
               if found.name == 'volume.filters')
    return wrapper.load_filters([str(pathlib.Path(file.locate()).parent)])


@ddt.ddt
class RootwrapTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        programs = fixtures.TempDir()
        programs.setUp()
        self.addCleanup(programs.cleanUp)
        self.programs = programs.path
        for name in ('env', 'lvchange', 'lvcreate', 'lvextend', 'lvremove',
                     'qemu-img'):
            program = pathlib.Path(programs.path, name)
            program.write_text('')
            program.chmod(0o755)
        self.commands = []
        patch = mock.patch('cinder.utils.execute', self.execute)
        patch.start()
        self.addCleanup(patch.stop)
        self.group = volumegroup.VolumeGroup('vg')

    def execute(self, *command, run_as_root=False):
        self.assertTrue(run_as_root)
        self.commands.append(list(command))
        return '[]', ''

    @ddt.data(
        lambda group: group.create('a', 1 << 30, {'state': 'importing'}),
        lambda group: group.snapshot('a', 'b', {'origin': 't'}, True),
        lambda group: group.extend('a', 2 << 30),
        lambda group: group.tag('a', {'state': 'ready'}, {'drop': ''}),
        lambda group: group.set_read_only('a'),
        lambda group: group.activate('a'),
        lambda group: group.delete('a', 'b'),
        lambda _group: images.data_size(IMAGE),
        lambda _group: images.write(IMAGE, '/dev/vg/a'))
    def test_command(self, do):
        do(self.group)
        (command,) = self.commands
        found = wrapper.match_filter(cinders_filters(), command,
                                     exec_dirs=[self.programs])
        self.assertEqual('root', found.run_as)
