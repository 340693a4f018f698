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

"""The cache layer on Open CAS, by os-brick's own engine for it.

The operator starts the cache, by the id that ``opencas_cache_id`` says.
Templates are cores of it. A core that is removed takes along what was kept of
it, so nothing is kept once the last volume of a template is detached.
"""

import dataclasses
from typing import Optional

from os_brick.caches import opencas
from os_brick import exception as brick_exception
from oslo_concurrency import processutils

from os_brick_vmthunder.caches import base
from os_brick_vmthunder.caches import engine
from os_brick_vmthunder.caches import needs
from os_brick_vmthunder import conf
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _


@dataclasses.dataclass(frozen=True)
class Core:
    """A device that Open CAS caches.

    :ivar disk: path of what is cached.
    :ivar device: path of the cached device.
    """

    disk: str
    device: str


class OpenCas(engine.Engine):
    """Keeps what was read of templates while they are attached."""

    PROMISES = base.Promises(kept_at_first_touch=True,
                             kept_after_reboot=False, shared=True)
    NEEDS = needs.Needs(
        modules=('cas_cache', 'dm-mirror'), programs=('casadm',),
        remedy=_('install Open CAS for Linux, open-cas.com, for this '
                 'kernel'))

    def __init__(self, config: conf.HostConfig) -> None:
        super().__init__(config)
        self._engine = opencas.OpenCASEngine(
            root_helper='sudo', opencas_cache_id=str(config.opencas_cache_id))

    def templates(self) -> list[str]:
        """Return the ids of templates that are attached: no others stay."""
        return engine.attached()

    def _verify(self) -> None:
        try:
            ready = self._engine.is_engine_ready()
        except (processutils.ProcessExecutionError, OSError, IndexError):
            ready = False
        if not ready:
            raise exception.ConfigurationError(reason=_(
                'no Open CAS cache %(id)d runs; start it by "casadm '
                '--start-cache --cache-id %(id)d --cache-mode wa '
                '--cache-device DEVICE", or correct opencas_cache_id in '
                '%(file)s.') % {'id': self._config.opencas_cache_id,
                                'file': self._config.file})

    def _put_over(self, template_id: str, source: str, size: int) -> str:
        try:
            device = self._find(template_id)
            if device is None:
                self._engine.attach_volume(dev_path=source)
                # the engine tells the first that looks like it
                device = self._find(template_id)
        except (processutils.ProcessExecutionError, OSError,
                brick_exception.BrickException) as error:
            raise _failure(source, error) from error
        if device is None:
            raise _failure(source, _('casadm does not list it'))
        return device

    def _take_away(self, template_id: str) -> None:
        try:
            device = self._find(template_id)
            if device is not None:
                self._engine.detach_volume(dev_path=device)
        except (processutils.ProcessExecutionError, OSError,
                brick_exception.BrickException) as error:
            raise _failure(engine.writable_name(template_id),
                           error) from error

    def _find(self, template_id: str) -> Optional[str]:
        """Return the path of a template's cached device, if it is there."""
        below = dm.find(engine.writable_name(template_id))
        if below is None:
            return None
        output, _error = self._engine.os_execute(
            'casadm', '-L', run_as_root=True, root_helper='sudo')
        return next((core.device for core in _cores(output)
                     if core.disk in (f'/dev/{below.kernel}', below.path)),
                    None)


def _cores(output: str) -> list[Core]:
    """Return what a listing of casadm names as cores."""
    rows = [line.split() for line in output.splitlines()]
    return [Core(row[2], row[5]) for row in rows
            if len(row) > 5 and row[0].endswith('core')]


def _failure(device: str, error: object) -> exception.CacheError:
    return exception.CacheError(cache='opencas',
                                reason=f'{device}: {error}')
