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

"""No cache: every read goes to the source."""

from os_brick_vmthunder.caches import base


class NoCache(base.Cache):
    """The layer that keeps nothing."""

    PROMISES = base.Promises(kept_at_first_touch=False,
                             kept_after_reboot=False, shared=False)

    def templates(self) -> list[str]:
        """Nothing is ever kept."""
        return []

    def _start(self, template_id: str, source: str, size: int) -> str:
        return source

    def _stop(self, template_id: str) -> None:
        """The source isn't the layer's."""

    def _stats(self, template_id: str, read_bytes: int) -> base.CacheStats:
        return base.CacheStats(read_bytes, read_bytes)
