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

"""``vmthunder-manage``: a look at a backend's templates, on its host."""

import argparse
import sys
import time
from typing import Sequence

from oslo_concurrency import processutils

from cinder_vmthunder import exception
from cinder_vmthunder.i18n import _
from cinder_vmthunder import templates
from cinder_vmthunder import volumegroup

_MIB = 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    group = volumegroup.VolumeGroup(options.volume_group,
                                    processutils.execute)
    try:
        return options.action(group, options)
    except exception.VolumeGroupFailed as error:
        print(error.msg, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='vmthunder-manage',
        description=_('Manage a VMThunder backend. Run as root on the host '
                      'of its volume group.'))
    parser.add_argument('--volume-group', default='cinder-volumes',
                        help=_('as volume_group in cinder.conf; '
                               'cinder-volumes if not given'))
    areas = parser.add_subparsers(required=True, metavar='template')
    template = areas.add_parser('template', help=_('templates of images'))
    actions = template.add_subparsers(required=True, metavar='list|drop')
    actions.add_parser(
        'list', help=_('list them')).set_defaults(action=_list)
    drop = actions.add_parser(
        'drop', help=_('have the driver remove one as soon as no volume '
                       'uses it, without waiting for its retention time'))
    drop.add_argument('id', help=_('of the template, or of its image'))
    drop.set_defaults(action=_drop)
    return parser


def _list(group: volumegroup.VolumeGroup, _options: object) -> int:
    volumes = group.volumes()
    users = templates.users(volumes)
    row = '{:36}  {:36}  {:>9}  {:>9}  {:>7}  {}'
    print(row.format('ID', 'IMAGE', 'SIZE/MiB', 'USED/MiB', 'VOLUMES',
                     'STATE'))
    for template in sorted(templates.find(volumes),
                           key=lambda found: (found.image_id, found.id)):
        used_by = len(users.get(template.id, ()))
        print(row.format(template.id, template.image_id,
                         template.size // _MIB, template.used_space // _MIB,
                         used_by, _state(template, used_by)))
    return 0


def _drop(group: volumegroup.VolumeGroup,
          options: argparse.Namespace) -> int:
    found = [template for template in templates.find(group.volumes())
             if options.id in (template.id, template.image_id)]
    for template in found:
        templates.mark_for_drop(group, template.id)
    if not found:
        print(_('No template of %(id)s in volume group %(group)s.') % {
            'id': options.id, 'group': group.name}, file=sys.stderr)
    return 0 if found else 1


def _state(template: templates.Template, users: int) -> str:
    if not template.ready:
        return _('importing')
    states = [_('in use') if users else _('unused')]
    if template.unused_since and not users:
        minutes = int(time.time() - template.unused_since) // 60
        states.append(_('for %d min') % minutes)
    if template.drop:
        states.append(_('to be dropped'))
    return ' '.join(states)
