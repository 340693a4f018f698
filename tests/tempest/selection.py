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

"""Which of tempest's tests to run, and how stestr finds them."""

import pathlib
import sysconfig

_PACKAGES = sysconfig.get_path('purelib')

#: Options of stestr itself, before its command. Tests of a class are run one
#: after the other: they share users and volumes.
STESTR = ('--top-dir', _PACKAGES,
          '--test-path', '%s/tempest/test_discover' % _PACKAGES,
          '--group-regex', r'([^\.]*\.)*')

_HERE = pathlib.Path(__file__).parent
#: Files of regular expressions with comments, as stestr reads them: what
#: can't run here and why, and what to run where time is short.
EXCLUDED = _HERE / 'excluded.txt'
SHORT = _HERE / 'short.txt'
#: Options of stestr's `run` for all tests there are.
ALL = ('--exclude-list', str(EXCLUDED),
       r'^(tempest\.api\.volume|cinder_tempest_plugin)\.')


def short() -> list[str]:
    """The names of the few tests to run where time is short."""
    lines = (line.partition('#')[0].strip()
             for line in SHORT.read_text().splitlines())
    return [line for line in lines if line]
