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

from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import export
from os_brick_vmthunder.privileged import lio
from tests.unit.os_brick_vmthunder import test_connection

TEMPLATE = test_connection.make().template
EXPORT = connection.Export(
    f'iqn.2010-10.org.x:template-{TEMPLATE.id}:1f', '[fd00::7]:3261')
NAME = f'vmthunder-relay-{TEMPLATE.id}'


class ExportTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.calls = mock.Mock()
        self.targets = []
        self.calls.create.return_value = f'/dev/mapper/{NAME}'
        self.calls.serves.return_value = False
        self.calls.names.side_effect = lambda part: [
            name for name in self.targets if part in name]
        self.calls.sessions.side_effect = lambda iqn: [f'child of {iqn}']
        for module, name in ((dm, 'create'), (dm, 'remove'),
                             (lio, 'export'), (lio, 'unexport'),
                             (lio, 'serves'), (lio, 'names'),
                             (lio, 'sessions')):
            patch = mock.patch.object(module, name,
                                      getattr(self.calls, name))
            patch.start()
            self.addCleanup(patch.stop)

    def test_serve(self):
        export.serve(TEMPLATE, EXPORT, '/dev/cached')
        self.calls.create.assert_called_once_with(
            NAME, f'VMTHUNDER-relay-{TEMPLATE.id}',
            [dm.Linear(0, TEMPLATE.size // 512, '/dev/cached')],
            readonly=True)
        self.calls.export.assert_called_once_with(lio.Target(
            EXPORT.iqn, f'/dev/mapper/{NAME}', (('[fd00::7]', 3261),),
            TEMPLATE.id, product='relay', read_only=True,
            state=lio.OPTIMIZED, public=TEMPLATE.chap))
        self.calls.unexport.assert_not_called()

    def test_what_serves_is_left_alone(self):
        """LIO would have who asks wait while the storage host is away."""
        self.calls.serves.return_value = True
        export.serve(TEMPLATE, EXPORT, '/dev/cached')
        self.calls.serves.assert_called_once_with(
            EXPORT.iqn, f'/dev/mapper/{NAME}', [EXPORT.portal])
        self.calls.export.assert_not_called()

    def test_waited_for(self):
        for inflight, waited in (('       0        0', False),
                                 ('       2        0', True), (None, False)):
            with mock.patch.object(export.sysfs, 'attribute',
                                   return_value=inflight), \
                    mock.patch.object(dm, 'find'):
                self.assertEqual(waited, export.is_waited_for(TEMPLATE.id))
        with mock.patch.object(dm, 'find', return_value=None):
            self.assertFalse(export.is_waited_for(TEMPLATE.id))

    def test_export_of_another_name_goes(self):
        old = EXPORT.iqn[:-2] + '2e'
        self.targets = [old, EXPORT.iqn]
        export.serve(TEMPLATE, EXPORT, '/dev/cached')
        self.calls.unexport.assert_called_once_with(old)

    def test_the_roots_own_target_is_not_ours(self):
        self.targets = [f'iqn.2010-10.org.x:template-{TEMPLATE.id}']
        self.assertEqual([], export.children(TEMPLATE.id))
        export.withdraw(TEMPLATE.id)
        self.calls.unexport.assert_not_called()

    def test_children(self):
        self.targets = [EXPORT.iqn]
        self.assertEqual([f'child of {EXPORT.iqn}'],
                         export.children(TEMPLATE.id))

    def test_withdraw(self):
        self.targets = [EXPORT.iqn]
        export.withdraw(TEMPLATE.id)
        self.assertEqual([mock.call.unexport(EXPORT.iqn),
                          mock.call.remove(NAME)],
                         self.calls.mock_calls[1:])


class SupportedTest(unittest.TestCase):

    def supported(self, module_listed, rtslib=True):
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(f'{root}/6.1')
            with open(f'{root}/6.1/modules.dep', 'w') as file:
                file.write('kernel/fs/ext4/ext4.ko:\n')
                if module_listed:
                    file.write('kernel/drivers/target/iscsi/'
                               'iscsi_target_mod.ko.xz: x.ko\n')
            with (mock.patch.object(export, '_MODULES', root),
                  mock.patch.object(export.platform, 'release',
                                    return_value='6.1'),
                  mock.patch.object(export.os.path, 'isdir',
                                    return_value=False),
                  mock.patch.object(export.importlib.util, 'find_spec',
                                    return_value=rtslib or None)):
                return export.supported.__wrapped__()

    def test_supported(self):
        self.assertTrue(self.supported(True))
        self.assertFalse(self.supported(False))
        self.assertFalse(self.supported(True, rtslib=False))

    def test_loaded_module(self):
        with (mock.patch.object(export.os.path, 'isdir', return_value=True),
              mock.patch.object(export.importlib.util, 'find_spec')):
            self.assertTrue(export.supported.__wrapped__())
