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

"""flashcache's program."""

from oslo_concurrency import processutils

from os_brick_vmthunder import privileged


@privileged.default.entrypoint
def create(name: str, cache: str, disk: str) -> None:
    """Make a cached device that never writes to the disk by itself.

    :param name: of the device, below /dev/mapper.
    :param cache: path of the device that takes the cache.
    :param disk: path of the device to cache.
    :raises ProcessExecutionError: it can't be made.
    """
    processutils.execute('flashcache_create', '-p', 'around', '-b', '4k',
                         name, cache, disk)
