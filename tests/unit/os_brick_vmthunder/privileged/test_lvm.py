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

"""Tests of LVM's reports."""

import os
import unittest
from unittest import mock

from oslo_concurrency import processutils

from os_brick_vmthunder import privileged
from os_brick_vmthunder.privileged import lvm


class ReportTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        privileged.default.set_client_mode(False)
        self.addCleanup(privileged.default.set_client_mode, True)

    def test_environment_is_added_to(self):
        with mock.patch.object(processutils, 'execute') as execute, \
                mock.patch.dict(os.environ, {'HOME': '/root'}, clear=True):
            self.assertIs(execute.return_value,
                          lvm.lvs({'LC_ALL': 'C'}, '--noheadings', 'vg'))
        execute.assert_called_once_with(
            'lvs', '--noheadings', 'vg',
            env_variables={'HOME': '/root', 'LC_ALL': 'C'})
