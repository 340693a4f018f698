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
import unittest
from unittest import mock

import subunit

from tests.tempest import running


def stream(*packets):
    """What stestr would print."""
    output = io.BytesIO()
    writer = subunit.StreamResultToBytes(output)
    for packet in packets:
        writer.status(**packet)
    return io.BytesIO(output.getvalue())


class RunTest(unittest.TestCase):

    def run_tests(self, *packets):
        with mock.patch.object(running.subprocess, 'Popen') as self.popen:
            self.popen.return_value.stdout = stream(*packets)
            return running.run(['a.B.c', 'a.B.d'], {'NAME': 'value'},
                               pathlib.Path('/state'))

    def test_outcomes(self):
        self.assertEqual(
            {'a.B.c': '', 'a.B.d': 'skip\nno servers',
             'tearDownClass (a.B)': 'fail\nTraceback'},
            self.run_tests(
                {'test_id': 'a.B.d', 'test_status': 'exists'},
                {'test_id': 'a.B.c[id-1,smoke]', 'test_status': 'success'},
                {'test_id': 'a.B.d', 'test_status': 'skip',
                 'file_name': 'reason', 'file_bytes': b'no servers',
                 'mime_type': 'text/plain;charset=utf8'},
                {'test_id': 'tearDownClass (a.B)', 'test_status': 'fail',
                 'file_name': 'traceback', 'file_bytes': b'Traceback',
                 'mime_type': 'text/plain;charset=utf8'}))

    def test_what_is_run(self):
        self.run_tests()
        (command,), options = self.popen.call_args
        self.assertEqual([r'^a\.B\.c(\[|$)', r'^a\.B\.d(\[|$)'], command[-2:])
        self.assertIn('/state', command)
        self.assertEqual('value', options['env']['NAME'])

    def test_test_that_died(self):
        outcomes = self.run_tests(
            {'test_id': 'a.B.c', 'test_status': 'inprogress'})
        self.assertEqual({'a.B.c': 'inprogress'}, outcomes)
