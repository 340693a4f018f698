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

import importlib
import importlib.util
import os
import pathlib
import sys
import types
from unittest import mock
import zipfile

import ddt
import fixtures
from os_brick import exception as brick_exception
from os_brick.initiator import connector as brick
import testtools

from os_brick_vmthunder import registration


def fake_brick():
    """os-brick's tables, as far as the registration knows them."""
    return types.SimpleNamespace(
        _connector_mapping_linux={'ISCSI': 'iscsi'},
        _connector_mapping_linux_s390x={},
        _connector_mapping_linux_ppc64={},
        unix_connector_list=['base', 'iscsi'])


@ddt.ddt
class ConnectorTestCase(testtools.TestCase):
    """The connector in os-brick's tables."""

    def test_all_tables(self):
        tables = fake_brick()
        registration._add_connector(tables)
        name = registration.CONNECTOR
        self.assertEqual({'ISCSI': 'iscsi', 'VMTHUNDER': name},
                         tables._connector_mapping_linux)
        self.assertEqual({'VMTHUNDER': name},
                         tables._connector_mapping_linux_s390x)
        self.assertEqual({'VMTHUNDER': name},
                         tables._connector_mapping_linux_ppc64)
        self.assertEqual(['base', 'iscsi', name], tables.unix_connector_list)

    def test_twice_is_once(self):
        tables = fake_brick()
        registration._add_connector(tables)
        registration._add_connector(tables)
        self.assertEqual(['base', 'iscsi', registration.CONNECTOR],
                         tables.unix_connector_list)

    def test_other_connector_of_that_name_stays(self):
        tables = fake_brick()
        tables._connector_mapping_linux['VMTHUNDER'] = 'theirs'
        registration._add_connector(tables)
        self.assertEqual('theirs',
                         tables._connector_mapping_linux['VMTHUNDER'])

    @ddt.data('_connector_mapping_linux', '_connector_mapping_linux_ppc64',
              'unix_connector_list')
    def test_unknown_os_brick_is_left_alone(self, missing):
        tables = fake_brick()
        delattr(tables, missing)
        before = repr(tables)
        error = self.assertRaises(RuntimeError, registration._add_connector,
                                  tables)
        self.assertIn(missing, str(error))
        self.assertEqual(before, repr(tables))

    @ddt.data('x86_64', 'aarch64', 's390x', 'ppc64le')
    def test_register_with_real_os_brick(self, architecture):
        for name in registration._MAPPINGS:
            self.useFixture(fixtures.MonkeyPatch(
                f'os_brick.initiator.connector.{name}',
                {key: value for key, value in getattr(brick, name).items()
                 if key != 'VMTHUNDER'}))
        self.assertNotIn('VMTHUNDER',
                         brick.get_connector_mapping(architecture))
        registration.register()
        self.assertEqual(registration.CONNECTOR,
                         brick.get_connector_mapping(
                             architecture)['VMTHUNDER'])
        self.assertIn(registration.CONNECTOR, brick._get_connector_list())


class BrickClientTestCase(testtools.TestCase):
    """The list of protocols of ``cinder local-attach``."""

    def protocols(self, *known):
        return types.SimpleNamespace(VerifyProtocol=types.SimpleNamespace(
            SUPPORTED_PROCOTOLS=list(known)))

    def test_twice_is_once(self):
        module = self.protocols('ISCSI')
        registration._allow_protocol(module)
        registration._allow_protocol(module)
        self.assertEqual(['ISCSI', 'VMTHUNDER'],
                         module.VerifyProtocol.SUPPORTED_PROCOTOLS)

    def test_real_client(self):
        actions = importlib.import_module(registration._BRICK_CLIENT)
        self.useFixture(fixtures.MonkeyPatch(
            f'{registration._BRICK_CLIENT}.VerifyProtocol.'
            'SUPPORTED_PROCOTOLS', ['ISCSI']))
        verify = actions.VerifyProtocol(None, None).verify
        self.assertRaises(brick_exception.ProtocolNotSupported, verify,
                          'vmthunder')
        registration._allow_protocol(actions)
        verify('vmthunder')

    def test_is_hooked(self):
        self.assertIs(registration._allow_protocol,
                      registration.HOOKS[registration._BRICK_CLIENT])


@ddt.ddt
class NovaTestCase(testtools.TestCase):
    """The volume driver in the table of Nova's libvirt driver."""

    def setUp(self):
        super().setUp()
        # Nova itself isn't imported beside Cinder: see tests.unit_nova.
        self.imported(types.ModuleType(registration._NOVA_DRIVER_MODULE))
        self.connectors = ['iscsi', registration.CONNECTOR]
        self.useFixture(fixtures.MonkeyPatch(
            f'{registration._BRICK}.{registration._LIST}', self.connectors))

    def imported(self, module):
        patch = mock.patch.dict(sys.modules,
                                {registration._NOVA_DRIVER_MODULE: module})
        patch.start()
        self.addCleanup(patch.stop)

    def add(self, **attributes):
        registration._add_volume_driver(types.SimpleNamespace(**attributes))

    def test_twice_is_once(self):
        drivers = {'iscsi': 'theirs'}
        self.add(VOLUME_DRIVERS=drivers)
        self.add(VOLUME_DRIVERS=drivers)
        self.assertEqual({'iscsi': 'theirs',
                          'vmthunder': registration.NOVA_DRIVER}, drivers)
        self.assertIn(registration.CONNECTOR, self.connectors)

    def test_other_driver_of_that_name_stays(self):
        drivers = {'vmthunder': 'theirs'}
        self.add(VOLUME_DRIVERS=drivers)
        self.assertEqual({'vmthunder': 'theirs'}, drivers)

    @ddt.data({}, {'VOLUME_DRIVERS': ['iscsi=theirs']})
    def test_unknown_nova_gets_plain_volumes(self, attributes):
        error = self.assertRaises(RuntimeError, self.add, **attributes)
        self.assertIn('plain iSCSI', str(error))
        self.assertEqual(['iscsi'], self.connectors)

    def test_nova_without_the_base_class_gets_plain_volumes(self):
        drivers = {}
        self.imported(None)
        self.assertRaises(RuntimeError, self.add, VOLUME_DRIVERS=drivers)
        self.assertEqual({}, drivers)
        self.assertEqual(['iscsi'], self.connectors)

    def test_is_hooked(self):
        self.assertIs(registration._add_volume_driver,
                      registration.HOOKS[registration._NOVA])


class HookTestCase(testtools.TestCase):
    """A module of the test's own stands in for os-brick's."""

    MODULE = 'vmthunder_hooked_module'

    def setUp(self):
        super().setUp()
        self.path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(fixtures.MonkeyPatch('sys.path',
                                             [str(self.path)] + sys.path))
        self.useFixture(fixtures.MonkeyPatch('sys.dont_write_bytecode', True))
        self.useFixture(fixtures.MonkeyPatch('sys.meta_path', [
            finder for finder in sys.meta_path
            if not isinstance(finder, registration._Finder)]))
        self.useFixture(fixtures.EnvironmentVariable(registration.SWITCH))
        self.log = self.useFixture(fixtures.FakeLogger())
        self.hook = mock.Mock()
        self.useFixture(fixtures.MonkeyPatch(
            'os_brick_vmthunder.registration.HOOKS',
            {self.MODULE: self.hook}))
        self.write(self.MODULE, 'TABLE = {}\n')

    def write(self, module, text):
        (self.path / f'{module}.py').write_text(text)
        importlib.invalidate_caches()
        self.addCleanup(sys.modules.pop, module, None)

    def finders(self):
        return [finder for finder in sys.meta_path
                if isinstance(finder, registration._Finder)]


@ddt.ddt
class InstallTestCase(HookTestCase):

    @ddt.data('0', 'no', 'False', ' off ')
    def test_switched_off(self, value):
        self.useFixture(fixtures.EnvironmentVariable(registration.SWITCH,
                                                     value))
        importlib.import_module(self.MODULE)
        registration.install()
        self.assertEqual([], self.finders())
        self.hook.assert_not_called()

    @ddt.data('1', 'yes', '')
    def test_not_switched_off(self, value):
        self.useFixture(fixtures.EnvironmentVariable(registration.SWITCH,
                                                     value))
        registration.install()
        self.assertEqual(1, len(self.finders()))

    def test_twice_is_once(self):
        registration.install()
        registration.install()
        self.assertEqual(1, len(self.finders()))

    def test_module_that_is_imported_already(self):
        module = importlib.import_module(self.MODULE)
        registration.install()
        self.hook.assert_called_once_with(module)

    def test_failing_hook_is_logged(self):
        importlib.import_module(self.MODULE)
        self.hook.side_effect = RuntimeError('tables gone')
        registration.install()
        line, = self.log.output.splitlines()
        self.assertIn(f'could not register with {self.MODULE}', line)
        self.assertIn('tables gone', line)
        self.assertIn('VMTHUNDER_AUTOREGISTER=0', line)


class ImportTestCase(HookTestCase):

    def setUp(self):
        super().setUp()
        registration.install()

    def test_hook_runs_after_the_module(self):
        self.hook.side_effect = lambda module: module.TABLE.update(ours=1)
        module = importlib.import_module(self.MODULE)
        self.assertEqual({'ours': 1}, module.TABLE)
        importlib.import_module(self.MODULE)
        self.hook.assert_called_once_with(module)

    def test_nothing_of_the_finder_stays_with_the_module(self):
        module = importlib.import_module(self.MODULE)
        self.assertIs(module.__loader__, module.__spec__.loader)
        self.assertIsInstance(module.__loader__,
                              importlib.machinery.SourceFileLoader)

    def test_reload(self):
        module = importlib.import_module(self.MODULE)
        importlib.reload(module)
        self.assertEqual(2, self.hook.call_count)

    def test_failing_hook_does_not_break_the_import(self):
        self.hook.side_effect = RuntimeError('tables gone')
        module = importlib.import_module(self.MODULE)
        self.assertEqual({}, module.TABLE)
        self.assertIn('tables gone', self.log.output)

    def test_failing_module_fails_as_ever(self):
        self.write(self.MODULE, '1 / 0\n')
        self.assertRaises(ZeroDivisionError, importlib.import_module,
                          self.MODULE)
        self.assertNotIn(self.MODULE, sys.modules)
        self.hook.assert_not_called()

    def test_module_that_is_not_there(self):
        (self.path / f'{self.MODULE}.py').unlink()
        importlib.invalidate_caches()
        self.assertRaises(ModuleNotFoundError, importlib.import_module,
                          self.MODULE)
        self.assertIsNone(importlib.util.find_spec(self.MODULE))

    def test_only_looked_for(self):
        spec = importlib.util.find_spec(self.MODULE)
        self.assertEqual('TABLE = {}\n',
                         spec.loader.get_source(self.MODULE))
        self.hook.assert_not_called()

    def test_other_modules(self):
        self.write('vmthunder_other_module', '')
        importlib.import_module('vmthunder_other_module')
        self.hook.assert_not_called()
        self.assertIsNone(self.finders()[0].find_spec('os'))

    def test_loader_that_modules_share(self):
        (self.path / f'{self.MODULE}.py').unlink()
        archive = os.path.join(self.path, 'modules.zip')
        with zipfile.ZipFile(archive, 'w') as modules:
            modules.writestr(f'{self.MODULE}.py',
                             'import vmthunder_neighbour as n\n')
            modules.writestr('vmthunder_neighbour.py', '')
        self.addCleanup(sys.modules.pop, 'vmthunder_neighbour', None)
        with mock.patch('sys.path', [archive] + sys.path):
            module = importlib.import_module(self.MODULE)
        self.hook.assert_called_once_with(module)
        self.assertIs(module.__loader__, module.n.__loader__)

    def test_finder_of_the_same_kind_in_front(self):
        class Asking:
            def find_spec(self, name, path=None, target=None):
                for finder in sys.meta_path:
                    if finder is not self:
                        spec = finder.find_spec(name, path, target)
                        if spec is not None:
                            return spec
                return None

        sys.meta_path.insert(0, Asking())
        sys.meta_path.append(Asking())
        module = importlib.import_module(self.MODULE)
        self.hook.assert_called_once_with(module)
