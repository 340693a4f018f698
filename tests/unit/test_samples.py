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
import pathlib

from oslo_config import cfg
from oslo_config import generator
import testtools

ETC = pathlib.Path(__file__).parents[2] / 'etc'


class SamplesTestCase(testtools.TestCase):

    def test_sample_is_what_the_options_say(self):
        conf = cfg.ConfigOpts()
        generator.register_cli_opts(conf)
        conf(['--config-file',
              str(ETC / 'oslo-config-generator' / 'vmthunder.conf')])
        expected = io.StringIO()
        generator.generate(conf, expected)
        # If they differ: make config
        self.assertEqual(expected.getvalue(),
                         (ETC / 'vmthunder' / 'vmthunder.conf.sample'
                          ).read_text())
