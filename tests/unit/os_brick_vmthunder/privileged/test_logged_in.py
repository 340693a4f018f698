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

"""Tests of telling which initiators are logged in."""

import os
import tempfile
import unittest
from unittest import mock

import ddt

from os_brick_vmthunder import privileged
from os_brick_vmthunder.privileged import lio

IQN, HOST = 'iqn.2010-10.org.openstack:volume-x', 'iqn.1993-08.org.debian:h'
SESSION = (f'InitiatorName: {HOST}\nInitiatorAlias: \nLIO Session ID: 1   '
           'ISID: 0x00 02 3d 00 00 00  TSIH: 1  SessionType: Normal\n'
           'Session State: %s\n')


@ddt.ddt
class LoggedInTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.acl = os.path.join(directory.name, 'iscsi', IQN, 'tpgt_1',
                                'acls', HOST)
        os.makedirs(self.acl)
        patch = mock.patch.object(lio, '_CONFIGFS', directory.name)
        patch.start()
        self.addCleanup(patch.stop)

    def write(self, text):
        with open(os.path.join(self.acl, 'info'), 'w') as file:
            file.write(text)

    def ask(self, iqn=IQN, initiator=HOST):
        with mock.patch.object(privileged.default, 'client_mode', False):
            return lio.logged_in([(iqn, initiator.upper())])[0]

    @ddt.data(
        (SESSION % 'TARG_SESS_STATE_LOGGED_IN', True),
        (SESSION % 'TARG_SESS_STATE_FAILED', False),
        (f'No active iSCSI Session for Initiator Endpoint: {HOST}\n', False))
    @ddt.unpack
    def test_access(self, info, expected):
        self.write(info)
        self.assertIs(expected, self.ask())

    @ddt.data(('iqn.x:other', HOST), (IQN, 'iqn.x:other'),
              (IQN, f'{HOST}/../{HOST}'), (f'{IQN}/../{IQN}', HOST))
    @ddt.unpack
    def test_no_access(self, iqn, initiator):
        self.write(SESSION % 'TARG_SESS_STATE_LOGGED_IN')
        self.assertIsNone(self.ask(iqn, initiator))
