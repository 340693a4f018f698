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

"""Cache layers: what keeps the template's blocks that guests have read."""

from os_brick_vmthunder.caches import base
from os_brick_vmthunder.caches import bcache
from os_brick_vmthunder.caches import dmcache
from os_brick_vmthunder.caches import flashcache
from os_brick_vmthunder.caches import none
from os_brick_vmthunder.caches import opencas
from os_brick_vmthunder import conf

_LAYERS: dict[str, type[base.Cache]] = {
    'bcache': bcache.Bcache,
    'dm-cache': dmcache.DmCache,
    'flashcache': flashcache.Flashcache,
    'opencas': opencas.OpenCas,
    'none': none.NoCache,
}


def names() -> list[str]:
    """Return the names of all layers, the default first."""
    return list(_LAYERS)


def layer(name: str) -> type[base.Cache]:
    """Return the layer of a name."""
    return _LAYERS[name]


def create(config: conf.HostConfig) -> base.Cache:
    """Return the cache layer that a host is set up for."""
    return _LAYERS[config.cache](config)
