# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Running some of tempest's tests, and what came of them."""

from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib
import re
import subprocess
import sys

import subunit
import testtools
from testtools.testresult.real import TestDict

from tests.tempest import selection

_PASSED = ''


def run(names: Sequence[str], environment: Mapping[str, str],
        directory: pathlib.Path, workers: int = 2) -> dict[str, str]:
    """Run the tests of these names.

    :param environment: names tempest.conf, see `configuration.write`.
    :param directory: where stestr may keep its own files.
    :returns: by name what went wrong, an empty text if nothing did. What a
        class prepares for its tests counts as a test if it fails.
    """
    outcomes: dict[str, str] = {}

    def note(test: TestDict) -> None:
        if test['status'] != 'exists':
            outcomes[test['id'].partition('[')[0]] = _problem(test)

    process = subprocess.Popen(
        [sys.executable, '-m', 'stestr', '--repo-url', str(directory),
         *selection.STESTR, 'run', '--subunit', '--concurrency',
         str(workers), *(rf'^{re.escape(name)}(\[|$)' for name in names)],
        stdout=subprocess.PIPE, env={**os.environ, **environment})
    result = testtools.StreamToDict(note)
    result.startTestRun()
    subunit.ByteStreamToStreamResult(
        process.stdout, non_subunit_name='stdout').run(result)
    result.stopTestRun()
    process.wait()
    return outcomes


def _problem(test: TestDict) -> str:
    if test['status'] == 'success':
        return _PASSED
    details = [content.as_text() for content in test['details'].values()]
    return '\n'.join([test['status'], *details])
