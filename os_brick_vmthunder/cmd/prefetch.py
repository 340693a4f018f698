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


"""``vmthunder prefetch``: what this host fetches ahead of its guests."""

import argparse
from typing import Any

from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder.i18n import _

_MIB = 1 << 20
_ROW = '{:36}  {:8}  {:>12}  {:>11}  {:9}  {}'


def add_parser(areas: Any) -> None:
    """Add the command.

    :param areas: what argparse's ``add_subparsers()`` returned.
    """
    prefetch = areas.add_parser(
        'prefetch', help=_('what this host fetches of templates ahead of '
                           'its guests'))
    prefetch.set_defaults(action=_show)


def _show(options: argparse.Namespace) -> None:
    print(_ROW.format('TEMPLATE', 'MODE', 'FORETOLD/MiB', 'FETCHED/MiB',
                      'STATE', 'RECORDED'))
    foretold = dict(hostprofiles.foretold.all())
    recorded = dict(hostprofiles.recorded.all())
    for template_id in sorted(foretold.keys() | recorded.keys()):
        there = hostprofiles.progress.read(template_id)
        cells = (there.mode, there.foretold // _MIB, there.fetched // _MIB,
                 there.state) if there else (
                     '-', '-', '-',
                     _('no agent') if template_id in foretold else '-')
        print(_ROW.format(template_id, *cells,
                          _('yes') if template_id in recorded else '-'))
