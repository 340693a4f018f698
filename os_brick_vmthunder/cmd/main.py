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


"""``vmthunder``: a look at what VMThunder does."""

import argparse
import sys
from typing import Sequence

from os_brick_vmthunder.cmd import cache
from os_brick_vmthunder.cmd import prefetch
from os_brick_vmthunder.cmd import tree
from os_brick_vmthunder import conf
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.action(options)
    except exception.VMThunderException as error:
        print(error.msg, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='vmthunder', description=_('Look at VMThunder.'))
    parser.add_argument('--config-file', default=conf.DEFAULT_FILE)
    parser.add_argument(
        '--lock-path', default='/var/lib/nova/tmp',
        help=_('as lock_path in [os_brick] or [oslo_concurrency] of the '
               'service that attaches volumes here'))
    areas = parser.add_subparsers(required=True, metavar='cache|prefetch|tree')
    cache.add_parser(areas)
    prefetch.add_parser(areas)
    tree.add_parser(areas)
    return parser


if __name__ == '__main__':
    sys.exit(main())
