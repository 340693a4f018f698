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

"""The commands that a page of the documentation has its reader type."""

import collections.abc
import dataclasses
import pathlib
import re
import subprocess

from tests.lab import sandbox

_PAGES = pathlib.Path(sandbox.PROJECT) / 'doc/source'
_COMMAND = re.compile(r'    ([$#]) (.*)')
_CONTINUED = re.compile(r'    ( {2,}.*)')
# What a command has learned, for later ones.
_VARIABLES = 'variables'


@dataclasses.dataclass(frozen=True)
class Command:
    """What to type.

    :ivar by_administrator: else, by a user.
    """

    text: str
    by_administrator: bool


def commands(name: str) -> list[Command]:
    """Return all commands of a page, in their order.

    :param name: the page's, without its suffix.
    """
    return parse((_PAGES / f'{name}.rst').read_text())


def parse(text: str) -> list[Command]:
    """Return the commands in a page's text.

    They begin with a dollar or a number sign, and go on in lines that are
    indented further.
    """
    found: list[Command] = []
    goes_on = False
    for line in text.splitlines():
        command = _COMMAND.fullmatch(line)
        more = _CONTINUED.fullmatch(line)
        if command:
            found.append(Command(command[2], command[1] == '#'))
        elif more and goes_on:
            found[-1] = dataclasses.replace(
                found[-1], text=f'{found[-1].text}\n{more[1]}')
        goes_on = bool(command or more and goes_on)
    return found


class Terminal:
    """Shells in one directory, that know each other's variables.

    :param directory: an empty one.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory

    def type(self, text: str,
             environment: collections.abc.Mapping[str, str]) -> str:
        """Run a command and return what it printed.

        :param environment: all of it.
        :raises AssertionError: it failed; with all that it said.
        """
        result = subprocess.run(
            ('bash', '-c', f'set -eu; touch {_VARIABLES}; . ./{_VARIABLES}\n'
             f'{text}\ndeclare -p image >{_VARIABLES} 2>/dev/null || true'),
            cwd=self._directory, env=dict(environment), text=True,
            capture_output=True, check=False)
        if result.returncode:
            raise AssertionError(
                f'{text}\n{result.stdout}{result.stderr}')
        return result.stdout
