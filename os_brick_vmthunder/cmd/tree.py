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


"""``vmthunder tree``: who reads a template from whom."""

import argparse
import json
from typing import Any

from os_brick_vmthunder.cmd import cinderapi
from os_brick_vmthunder.cmd import relaytree
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _


def add_parser(areas: Any) -> None:
    """Add the command.

    :param areas: what argparse's ``add_subparsers()`` returned.
    """
    tree = areas.add_parser(
        'tree', help=_('who reads a template from whom, as Cinder knows it'),
        description=_('Ask Cinder who reads a template from whom. Needs an '
                      "administrator's credentials, in OS_* in the "
                      'environment or clouds.yaml.'))
    tree.add_argument('id', nargs='?', metavar='template|volume|image',
                      help=_('of which template; of all if not said'))
    tree.add_argument('--json', action='store_true',
                      help=_('for programs'))
    tree.set_defaults(action=_show)


def _show(options: argparse.Namespace) -> None:
    cinder = cinderapi.connect()
    trees = relaytree.trees(cinder.attachments(),
                            cinder.volumes(status='detaching'))
    if options.id:
        trees = _select(trees, options.id, cinder)
    if options.json:
        print(json.dumps([tree.to_dict() for tree in trees], indent=2))
    else:
        print('\n\n'.join(tree.to_text() for tree in trees) or
              _('No host reads a template.'))


def _select(trees: list[relaytree.Tree], wanted: str,
            cinder: cinderapi.Cinder) -> list[relaytree.Tree]:
    found = [tree for tree in trees
             if wanted == tree.template_id or wanted in tree.volumes]
    if not found:
        volumes = cinder.volumes(glance_metadata=str({'image_id': wanted}))
        found = [tree for tree in trees if tree.volumes & volumes]
    if not found:
        raise exception.NothingFound(id=wanted)
    return found
