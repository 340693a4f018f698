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


"""What this host serves to others: its cached templates.

    cached template -> vmthunder-relay-<template id> -> LIO -> children

LIO wants a device for itself, hence the dm-linear between. All is in the
kernel and is found there: it serves on while nothing of VMThunder runs.
"""

import functools
import importlib.util
import os
import platform

from oslo_log import log as logging

from os_brick_vmthunder import connection
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import nodes
from os_brick_vmthunder.privileged import lio
from os_brick_vmthunder import sysfs

LOG = logging.getLogger(__name__)

#: What INQUIRY says of a relay's LUN; the root's says 'template'.
PRODUCT = 'relay'

_PREFIX = 'vmthunder-relay-'
_MODULE = 'iscsi_target_mod'
_MODULES = '/lib/modules'


def name(template_id: str) -> str:
    """Return the name of the device that is exported of a template."""
    return _PREFIX + template_id


def serve(template: connection.Template, export: connection.Export,
          cached: str) -> None:
    """Export a template, or find that it is exported.

    :param export: how.
    :param cached: the cached template's device.
    :raises DeviceMapperError: the device to export cannot be made.
    :raises TargetError: LIO refuses it.
    """
    for other in _targets(template.id):
        if other != export.iqn:
            lio.unexport(other)
    device = dm.create(
        name(template.id), f'VMTHUNDER-relay-{template.id}',
        [dm.Linear(0, template.size // sysfs.SECTOR, cached)], readonly=True)
    if lio.serves(export.iqn, device, [export.portal]):
        return
    address, _colon, port = export.portal.rpartition(':')
    lio.export(lio.Target(
        export.iqn, device, ((address, int(port)),), template.id,
        product=PRODUCT, read_only=True, state=lio.OPTIMIZED,
        public=template.chap))


def children(template_id: str) -> list[str]:
    """Return the initiators that are logged in to this host's export."""
    return [child for iqn in _targets(template_id)
            for child in lio.sessions(iqn)]


def is_waited_for(template_id: str) -> bool:
    """Tell whether a child's request is on its way.

    To end an export waits for it. And LIO names nobody as logged in while an
    agent closes the export of a host that gets nothing itself.
    """
    device = dm.find(name(template_id))
    return device is not None and any(map(int, (
        sysfs.attribute(device.kernel, 'inflight') or '').split()))


def withdraw(template_id: str) -> None:
    """End the export of a template; its children are thrown out.

    :raises TargetError: LIO refuses.
    :raises DeviceBusy: something else has the exported device open.
    """
    for iqn in _targets(template_id):
        lio.unexport(iqn)
    dm.remove(name(template_id))


@functools.cache
def supported() -> bool:
    """Tell whether this host could export at all; it isn't tried."""
    if not importlib.util.find_spec('rtslib_fb'):
        return False
    if os.path.isdir(f'/sys/module/{_MODULE}'):
        return True
    directory = os.path.join(_MODULES, platform.release())
    return any(f'/{_MODULE}.ko' in (sysfs.read(os.path.join(
        directory, listed)) or '')
        for listed in ('modules.dep', 'modules.builtin'))


def _targets(template_id: str) -> list[str]:
    """Return this host's targets of a template, whole or half made.

    If the host is the template's root too, the root's isn't among them.
    """
    return lio.names(nodes.template_target(template_id) + ':')
