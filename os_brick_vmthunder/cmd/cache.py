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


"""``vmthunder cache``: what this host keeps of templates, and dropping it."""

import argparse
from typing import Any
import uuid

import os_brick
from oslo_config import cfg

from os_brick_vmthunder import caches
from os_brick_vmthunder.caches import base
from os_brick_vmthunder import conf
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder import locks
from os_brick_vmthunder import privileged

_MIB = 1 << 20


def add_parser(areas: Any) -> None:
    """Add the command.

    :param areas: what argparse's ``add_subparsers()`` returned.
    """
    cache = areas.add_parser('cache', help=_('what this host keeps of '
                                             'templates; run as root'))
    actions = cache.add_subparsers(required=True, metavar='list|layers|drop')
    actions.add_parser(
        'list', help=_('list the templates')).set_defaults(action=_list)
    actions.add_parser('layers', help=_(
        'list the cache layers, what they promise, and which can work here')
    ).set_defaults(action=_layers)
    drop = actions.add_parser('drop', help=_('drop what is kept of a '
                                             'template that no volume '
                                             'uses here'))
    which = drop.add_mutually_exclusive_group(required=True)
    which.add_argument('template', nargs='?', type=_template_id,
                       help=_('id of the template'))
    which.add_argument('--all', action='store_true',
                       help=_('of all of them, and the cache itself'))
    drop.set_defaults(action=_drop)


def _cache(options: argparse.Namespace) -> base.Cache:
    _become_privileged(options.lock_path)
    return caches.create(conf.load(options.config_file))


def _become_privileged(lock_path: str) -> None:
    """Work as root in this process, under the locks of the services."""
    os_brick.setup(cfg.CONF)
    cfg.CONF.set_override('lock_path', lock_path, 'os_brick')
    privileged.default.set_client_mode(False)


def _template_id(text: str) -> str:
    return str(uuid.UUID(text))


def _list(options: argparse.Namespace) -> None:
    cache = _cache(options)
    row = '{:36}  {:8}  {:>9}  {:>11}  {:>9}  {:>9}'
    print(row.format('TEMPLATE', 'STATE', 'READ/MiB', 'FETCHED/MiB', 'HITS',
                     'MISSES'))
    for template_id in sorted(cache.templates()):
        stats = cache.stats(template_id)
        if stats is None:
            print(row.format(template_id, _('kept'), '-', '-', '-', '-'))
        else:
            print(row.format(template_id, _('attached'),
                             stats.read_bytes // _MIB,
                             stats.fetched_bytes // _MIB,
                             stats.hits, stats.misses))


def _layers(options: argparse.Namespace) -> None:
    _become_privileged(options.lock_path)
    row = '{:10}  {:11}  {:12}  {:6}  {}'
    print(row.format('LAYER', 'FIRST TOUCH', 'AFTER REBOOT', 'SHARED',
                     'AVAILABLE'))
    for name in caches.names():
        layer = caches.layer(name)
        promises = layer.PROMISES
        lacking = layer.NEEDS.lacking()
        print(row.format(
            name, _kept(promises.kept_at_first_touch),
            _kept(promises.kept_after_reboot),
            _('yes') if promises.shared else _('no'),
            _('no: %s') % lacking if lacking else _('yes')))


def _kept(promised: bool) -> str:
    return _('kept') if promised else '-'


def _drop(options: argparse.Namespace) -> None:
    cache = _cache(options)
    if options.all:
        with locks.host_lock_on_all('template'):
            cache.clear()
    else:
        with locks.host_lock('template', options.template):
            cache.forget(options.template)
