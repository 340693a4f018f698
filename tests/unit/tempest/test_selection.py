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

import importlib.util
import re
import unittest

from tests.tempest import selection


class SelectionTest(unittest.TestCase):

    def test_short_has_names(self):
        self.assertNotEqual([], selection.short())
        for name in selection.short():
            self.assertRegex(name, r'^[a-z_]+\.[\w.]+\.test_\w+$')

    def test_short_is_a_part_of_all(self):
        chosen = re.compile(selection.ALL[-1])
        for name in selection.short():
            self.assertTrue(chosen.match(name), name)

    @unittest.skipUnless(importlib.util.find_spec('tempest'),
                         'tempest is not installed')
    def test_short_exists(self):
        for name in selection.short():
            module, _class, _test = name.rsplit('.', 2)
            self.assertIsNotNone(importlib.util.find_spec(module), name)

    def test_each_exclusion_has_a_reason(self):
        reason = ''
        for line in selection.EXCLUDED.read_text().splitlines():
            if line.startswith('#') or not line.strip():
                reason = line
            else:
                re.compile(line)
                self.assertNotEqual('', reason, line)
