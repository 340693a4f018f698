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

import testtools

from tests.functional import page

TEXT = '''\
First::

    $ image=$(echo 7)
    $ for n in $(seq 2); do
          echo $image \\
              again
      done

and then, as root::

    # show
    NAME  VALUE
      x   1

      no command
'''


class PageTestCase(testtools.TestCase):

    def test_parse(self):
        self.assertEqual([
            page.Command('image=$(echo 7)', False),
            page.Command('for n in $(seq 2); do\n      echo $image \\\n'
                         '          again\n  done', False),
            page.Command('show', True)], page.parse(TEXT))

    def test_every_page_that_is_typed_has_commands(self):
        self.assertNotEqual([], page.commands('boot'))


class TerminalTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.terminal = page.Terminal(pathlib.Path(directory.name))

    def type(self, text):
        return self.terminal.type(text, os.environ)

    def test_variables_are_kept(self):
        first, second, _show = page.parse(TEXT)
        self.type(first.text)
        self.assertEqual('', self.type('true'))
        self.assertEqual('7 again\n7 again\n', self.type(second.text))

    def test_failures(self):
        for text in ('false', 'echo $nothing', 'echo out; ls /nowhere',
                     'for n in 1 2; do false; true; done'):
            self.assertRaises(AssertionError, self.type, text)
