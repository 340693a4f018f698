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

"""The cache layer on the kernel's bcache."""

import os

from os_brick_vmthunder.caches import backing
from os_brick_vmthunder.caches import base
from os_brick_vmthunder.caches import bcacheset
from os_brick_vmthunder.caches import coalescing
from os_brick_vmthunder.caches import failover
from os_brick_vmthunder.caches import needs
from os_brick_vmthunder import conf
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder import sysfs


class Bcache(base.Cache):
    """Keeps what was read on one local device that all templates share.

    The set remembers by a template's id what it has of it. So it is warm
    again whenever the template is attached, whatever happened in between.
    What was read in the last half minute before a power cut may be lost.
    """

    PROMISES = base.Promises(kept_at_first_touch=True,
                             kept_after_reboot=True, shared=True)
    NEEDS = needs.Needs(
        modules=('bcache',),
        remedy=_('install a kernel that has it, as all of Debian and Ubuntu '
                 'do'))

    def __init__(self, config: conf.HostConfig) -> None:
        super().__init__(config)
        self._set = bcacheset.CacheSet(config)
        self._directory = os.path.join(config.state_dir, 'templates')

    def _verify(self) -> None:
        self._set.verify()

    def ahead(self, template_id: str) -> base.Ahead:
        """See the base class: bcache asks for pages, each by itself."""
        return coalescing.ahead(template_id)

    def templates(self) -> list[str]:
        """Return the ids of templates that were attached and not dropped."""
        return backing.templates(self._directory)

    def _start(self, template_id: str, source: str, size: int) -> str:
        set_id = self._set.ensure()
        device = self._backing(template_id)
        block = max(self._set.block_size(set_id),
                    bcacheset.block_size(source))
        shared = coalescing.assemble(template_id, source, size)
        name = device.assemble(
            [dm.Linear(device.start(), size // sysfs.SECTOR, shared)],
            block, set_id)
        return failover.assemble(template_id, f'/dev/{name}', shared, size)

    def _stop(self, template_id: str) -> None:
        failover.disassemble(template_id)
        self._backing(template_id).disassemble()
        coalescing.disassemble(template_id)

    def _stats(self, template_id: str, read_bytes: int) -> base.CacheStats:
        device = self._backing(template_id)
        name = device.find()
        if name is None:
            return base.CacheStats(read_bytes, 0)

        def count(attribute: str) -> int:
            return int(sysfs.attribute(name, 'bcache', 'stats_total',
                                       attribute) or 0)

        return base.CacheStats(
            read_bytes, sysfs.read_bytes(sysfs.kernel_name(device.path)),
            hits=count('cache_hits'), misses=count('cache_misses'),
            bypassed=count('cache_bypass_hits') +
            count('cache_bypass_misses'))

    def _forget(self, template_id: str) -> None:
        if template_id not in self.templates():
            return
        set_id = self._set.ensure()
        self._stop(template_id)  # what a crash may have left
        device = self._backing(template_id)
        # its set drops what it kept only of a device that is there
        device.assemble([dm.Zero(device.start(), 8)],
                        self._set.block_size(set_id), set_id)
        device.drop()

    def _clear(self) -> None:
        for template_id in self.templates():
            self._stop(template_id)
        self._set.destroy()
        for template_id in self.templates():
            self._backing(template_id).discard()

    def _backing(self, template_id: str) -> backing.BackingDevice:
        return backing.BackingDevice(self._directory, template_id)
