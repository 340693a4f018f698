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
import pathlib
import tempfile
import unittest
from unittest import mock

from tests.lab import image


class PathTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.cache = pathlib.Path(directory.name)
        patch = mock.patch.dict(os.environ, XDG_CACHE_HOME=directory.name)
        patch.start()
        self.addCleanup(patch.stop)

    def test_recipe_is_in_the_name(self):
        before = image.path()
        self.assertEqual(self.cache / 'vmthunder', before.parent)
        guest = self.cache / 'guest'
        guest.mkdir()
        with mock.patch.object(image, 'GUEST', guest):
            (guest / 'file').write_text('x')
            paths = [before, image.path()]
            (guest / 'file').write_text('y')
            paths.append(image.path())
            (guest / 'file').chmod(0o755)
            paths.append(image.path())
            (guest / 'file').rename(guest / 'other')
            paths.append(image.path())
        self.assertEqual(len(paths), len(set(paths)))
        self.assertEqual(before, image.path())

    def test_find_says_what_to_do(self):
        with self.assertRaisesRegex(image.ImageError, 'tests.lab.image'):
            image.find()
        image.path().parent.mkdir()
        image.path().touch()
        self.assertEqual(image.path(), image.find())

    def test_missing_tools_are_named(self):
        with mock.patch.object(image.shutil, 'which', return_value=None), \
                mock.patch.object(image.os, 'geteuid', return_value=0), \
                self.assertRaisesRegex(image.ImageError, 'mmdebstrap'):
            image.build()

    def test_leftovers_and_older_images_go(self):
        directory = self.cache / 'vmthunder'
        (directory / 'build-killed/root').mkdir(parents=True)
        (directory / 'debian-0123.qcow2').touch()

        def make(build, path):
            self.assertFalse((directory / 'build-killed').exists())
            self.assertTrue(build.work.is_dir())
            path.touch()

        with mock.patch.object(image, '_check_tools'), \
                mock.patch.object(image._Build, 'make', autospec=True,
                                  side_effect=make) as maker:
            self.assertEqual(image.path(), image.build())
            self.assertEqual(image.path(), image.build())
        maker.assert_called_once()
        self.assertEqual({'lock', image.path().name},
                         {path.name for path in directory.iterdir()})

    def test_failed_build_leaves_nothing(self):
        with mock.patch.object(image, '_check_tools'), \
                mock.patch.object(image._Build, '_userland',
                                  side_effect=image.ImageError('x')), \
                self.assertRaises(image.ImageError):
            image.build()
        self.assertEqual(['lock'], os.listdir(self.cache / 'vmthunder'))


class CommandTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        lock = open(os.devnull)
        self.addCleanup(lock.close)
        self.build = image._Build(pathlib.Path('/nowhere'), lock, print)

    def test_failure_says_what_and_why(self):
        with self.assertRaisesRegex(image.ImageError,
                                    r'"sh -c .*status 3: why'):
            self.build._run('sh', '-c', 'echo why >&2; exit 3')

    def test_sources_of_the_machine(self):
        output = ('bookworm http://a/debian/ bookworm main\n'
                  'bookworm http://a/debian/ bookworm main\n'
                  'bookworm-updates http://a/debian/ bookworm-updates main\n'
                  'trixie http://a/debian/ trixie main\n')
        release = {'VERSION_CODENAME': 'bookworm'}
        with mock.patch.object(self.build, '_run', return_value=output), \
                mock.patch.object(image.platform, 'freedesktop_os_release',
                                  return_value=release):
            self.assertEqual(
                ('bookworm', 'deb http://a/debian/ bookworm main\n'
                 'deb http://a/debian/ bookworm-updates main\n'),
                self.build._sources())

    def test_no_sources(self):
        with mock.patch.object(self.build, '_run', return_value=''), \
                self.assertRaisesRegex(image.ImageError, 'apt-get update'):
            self.build._sources()

    def test_how_to_reach_the_archive(self):
        dump = ('Acquire "";\nAcquire::http "";\n'
                'Acquire::http::Proxy "http://p:3142";\n'
                'Acquire::Languages:: "none";\n')
        with mock.patch.object(self.build, '_run', return_value=dump):
            self.assertEqual(['Acquire::http::Proxy "http://p:3142";'],
                             self.build._reach())
