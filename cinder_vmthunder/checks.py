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

"""What a backend needs, checked when the service starts."""

import contextlib
import importlib.util
from typing import Any, Iterator

from cinder.image import image_utils
from oslo_concurrency import processutils
from oslo_utils import units

from cinder_vmthunder import exception
from cinder_vmthunder.i18n import _
from cinder_vmthunder import relays
from cinder_vmthunder import volumegroup

_QEMU_IMG = '5.2'  # the first with extended_l2


def check_options(backend: str, configuration: Any) -> None:
    """Check options and tools, before anything is touched.

    :raises BackendNotReady: names the option and what to set.
    :raises VolumeBackendAPIException: qemu-img is missing or too old.
    """
    wanted = {'target_helper': ('lioadm',),
              'target_protocol': ('iscsi',),
              'lvm_type': ('thin', 'auto'),
              'lvm_mirrors': (0,)}
    for option, values in wanted.items():
        value = configuration.safe_get(option)
        if value not in values:
            raise _not_ready(backend, _(
                '%(option)s is %(value)s; set %(option)s = %(wanted)s.') % {
                    'option': option, 'value': value, 'wanted': values[0]})
    try:
        relays.networks(configuration)
    except ValueError as error:
        raise _not_ready(backend, _(
            'vmthunder_relay_networks: %s; list networks as '
            '192.0.2.0/24.') % error) from error
    if not importlib.util.find_spec('rtslib_fb'):
        raise _not_ready(backend, _(
            'the Python package rtslib-fb is not installed; install '
            'vmthunder[cinder].'))
    image_utils.check_qemu_img_version(_QEMU_IMG)


@contextlib.contextmanager
def thin_pool(backend: str, configuration: Any) -> Iterator[None]:
    """Check that the LVM driver found or made a thin pool meanwhile.

    :raises BackendNotReady: names the volume group and what to do.
    """
    remedy = _(
        'volume group %(group)s (option volume_group) has to exist and have '
        'a thin pool named %(group)s-pool. Make one with "lvcreate -T '
        '-l 95%%FREE %(group)s/%(group)s-pool".') % {
            'group': configuration.volume_group}
    try:
        yield
    except processutils.ProcessExecutionError as error:
        raise _not_ready(backend, f'{remedy} LVM says: '
                         f'{(error.stderr or str(error)).strip()}') from error
    if configuration.lvm_type != 'thin':
        raise _not_ready(backend, remedy)


def check_group(backend: str, group: volumegroup.VolumeGroup) -> None:
    """Check what the volume group was made with.

    :raises BackendNotReady: says what to do.
    """
    if not group.zeroes:
        raise _not_ready(backend, _(
            'the thin pool does not zero new blocks, so that new volumes '
            'would show data of deleted ones. Run "lvchange --zero y '
            '%(group)s/%(pool)s".') % {'group': group.name,
                                       'pool': group.pool_name})
    if group.extent_size > units.Gi:
        raise _not_ready(backend, _(
            'volume group %(group)s has extents of %(size)d GiB. Make one '
            'with extents of at most 1 GiB.') % {
                'group': group.name, 'size': group.extent_size // units.Gi})


def _not_ready(backend: str, reason: str) -> exception.BackendNotReady:
    return exception.BackendNotReady(backend=backend, reason=reason)
