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

import io
import re
import unittest

from demo import progress


class Terminal(io.StringIO):

    def isatty(self):
        return True


class ProgressTest(unittest.TestCase):

    def test_plain_lines(self):
        stream = io.StringIO()
        steps = progress.Progress(stream)
        with steps.step('here', 'done'):
            pass
        with self.assertRaises(ZeroDivisionError):
            with steps.step('there', 'not done'):
                1 / 0
        steps.tell('cloud', 'part', 'up')
        steps.close()
        first, second, third = stream.getvalue().splitlines()
        self.assertRegex(first, r'^\[ +\d\.\d s\]  here +done +\d\.\d s$')
        self.assertRegex(second, r'there +not done +FAILED$')
        self.assertRegex(third, r'cloud +part +up$')

    def test_terminal_shows_what_runs(self):
        stream = Terminal()
        steps = progress.Progress(stream)
        with steps.step('here', 'long'):
            with steps.step('there', 'short'):
                pass
            self.assertRegex(stream.getvalue(), r'here: long \d+ s \.\.\.$')
        steps.close()
        self.assertTrue(stream.getvalue().endswith('\r\x1b[K'))
        # What remains on the terminal are whole lines only.
        visible = re.sub(r'[^\n]*\r\x1b\[K', '', stream.getvalue())
        self.assertEqual(2, len(visible.splitlines()))

    def test_nothing_after_the_end(self):
        stream = io.StringIO()
        steps = progress.Progress(stream)
        steps.close()
        with steps.step('here', 'late'):
            pass
        self.assertEqual('', stream.getvalue())
