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

import configparser
import os
import pathlib
import tempfile
import unittest

from tests.tempest import configuration


class WriteTest(unittest.TestCase):

    def test_all_is_filled_in(self):
        with tempfile.TemporaryDirectory() as parent:
            directory = pathlib.Path(parent, 'tempest')
            environment = configuration.write('an-image', directory)
            file = os.path.join(environment['TEMPEST_CONFIG_DIR'],
                                environment['TEMPEST_CONFIG'])
            parser = configparser.RawConfigParser()
            parser.read(file)
        self.assertEqual('an-image', parser['compute']['image_ref'])
        self.assertEqual(str(directory), parser['DEFAULT']['log_dir'])
        self.assertRegex(parser['identity']['uri_v3'], r'^http://[\d.:]+/v3$')
