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

"""What installing the package does to the Python processes of a host.

The wheel and the editable install are built and installed for real, without
network, into an environment that sees the libraries of the running one.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv

import ddt
import fixtures
import testtools

from os_brick_vmthunder import registration

SOURCE = pathlib.Path(__file__).parents[2]
LIBRARIES = sysconfig.get_path('purelib')
PIP = (sys.executable, '-m', 'pip', '--disable-pip-version-check',
       '--no-input', '-q')
OFFLINE = ('--no-index', '--no-deps', '--no-build-isolation')

# Facts about a process that imports nothing and one that imports os-brick.
PLAIN = '''
import json, sys
print(json.dumps(sorted(sys.modules)))
'''
BRICK = '''
import json
from os_brick.initiator import connector
print(json.dumps([connector._connector_mapping_linux.get('VMTHUNDER'),
                  connector.unix_connector_list[-1],
                  type(connector.__loader__).__name__]))
'''


def install_wheel(python, source):
    subprocess.run(PIP + ('wheel', '-w', source / 'dist', source) + OFFLINE,
                   check=True, stdout=subprocess.DEVNULL)
    wheel, = (source / 'dist').glob('*.whl')
    subprocess.run(PIP + ('--python', python, 'install', wheel) + OFFLINE,
                   check=True, stdout=subprocess.DEVNULL)


def install_editable(python, source):
    subprocess.run(PIP + ('--python', python, 'install', '-e', source) +
                   OFFLINE, check=True, stdout=subprocess.DEVNULL)


@ddt.ddt
class PackagingTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for variable in (registration.SWITCH, 'PYTHONPATH',
                         'COVERAGE_PROCESS_START',
                         'COVERAGE_PROCESS_CONFIG'):
            self.useFixture(fixtures.EnvironmentVariable(variable))
        self.source = self.path / 'source'
        self.source.mkdir()
        for name in ('setup.py', 'setup.cfg', 'pyproject.toml', 'README.rst',
                     'LICENSE'):
            shutil.copy(SOURCE / name, self.source)
        for name in ('os_brick_vmthunder', 'cinder_vmthunder', 'etc'):
            shutil.copytree(SOURCE / name, self.source / name,
                            ignore=shutil.ignore_patterns('__pycache__'))
        environment = self.path / 'venv'
        venv.create(environment, symlinks=True)
        self.python = environment / 'bin' / 'python'
        self.packages = pathlib.Path(sysconfig.get_path(
            'purelib', 'venv', {'base': str(environment)}))
        # A path in a .pth file, unlike a site directory, doesn't bring in
        # the .pth files that stand there: the running environment's own
        # registration is out.
        (self.packages / 'libraries.pth').write_text(LIBRARIES + '\n')
        self.before = self.content()

    def content(self):
        return sorted(path.name for path in self.packages.iterdir())

    def ask(self, program, *options, **environ):
        for variable, value in environ.items():
            self.useFixture(fixtures.EnvironmentVariable(variable, value))
        done = subprocess.run(
            [self.python, '-W', 'ignore', *options, '-c', program],
            cwd=self.path, check=True, capture_output=True, text=True)
        self.assertEqual('', done.stderr)
        return json.loads(done.stdout)

    @ddt.data(install_wheel, install_editable)
    def test_install_and_uninstall(self, install):
        plain = self.ask(PLAIN)
        install(self.python, self.source)

        self.assertEqual([registration.CONNECTOR, registration.CONNECTOR,
                          'SourceFileLoader'], self.ask(BRICK))
        self.assertEqual(['os_brick_vmthunder',
                          'os_brick_vmthunder.registration'],
                         sorted(set(self.ask(PLAIN)) - set(plain)))
        self.assertNotIn('os_brick_vmthunder', self.ask(PLAIN, '-S'))
        self.assertIn('os_brick_vmthunder', self.ask(PLAIN, '-I'))
        # The last, since the switch stays in the environment.
        mapping, in_list, _loader = self.ask(
            BRICK, **{registration.SWITCH: '0'})
        self.assertIsNone(mapping)
        self.assertNotEqual(registration.CONNECTOR, in_list)

        subprocess.run(PIP + ('--python', self.python, 'uninstall', '-y',
                              'vmthunder'), check=True)
        self.assertEqual(self.before, self.content())

    def test_package_gone_but_for_the_pth_file(self):
        # A moved checkout, or a removal that was cut.
        install_editable(self.python, self.source)
        shutil.rmtree(self.source)
        self.assertNotIn('os_brick_vmthunder', self.ask(PLAIN))
