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

"""Where the cache is on this host: a named device, or a file in its place."""

from typing import Callable, Optional

from oslo_concurrency import processutils

from os_brick_vmthunder import conf
from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _
from os_brick_vmthunder.privileged import blockdev
from os_brick_vmthunder.privileged import files
from os_brick_vmthunder.privileged import loop
from os_brick_vmthunder import sysfs

_SMALLEST = 1 << 30


class Place:
    """The cache device, or the file.

    :param is_ours: tells whether a device or file holds what the cache layer
        made there.
    :param unit: what the file's size is a multiple of, in bytes.
    """

    def __init__(self, config: conf.HostConfig,
                 is_ours: Callable[[str], bool], unit: int) -> None:
        self._config = config
        self._is_ours = is_ours
        self._unit = unit

    def verify(self) -> None:
        """Check that the cache can be there, without touching anything.

        :raises ConfigurationError: it can't; says what to do.
        """
        device = self._config.cache_device
        if device:
            if not sysfs.has_node(device):
                raise exception.ConfigurationError(reason=_(
                    'cache device %(device)s is not there or is no block '
                    'device; correct cache_device in %(file)s.') % {
                        'device': device, 'file': self._config.file})
            self.is_formatted(device)
        elif not files.exists(self._config.cache_file):
            self.file_size()
        else:
            self.is_formatted(self._config.cache_file)

    def find(self) -> Optional[str]:
        """Return the path of the device, or of the file's, if it has one."""
        return self._config.cache_device or loop.find(self._config.cache_file)

    def is_formatted(self, path: str) -> bool:
        """Tell whether what is there is ours; if not, it must be empty.

        :param path: of the device or file.
        :raises ConfigurationError: it is neither; or it is too small.
        """
        if self._is_ours(path):
            return True
        try:
            contents = blockdev.contents(path)
        except processutils.ProcessExecutionError:
            contents = _('of several kinds')
        if contents and self._config.cache_device:
            raise exception.ConfigurationError(reason=_(
                'cache device %(device)s holds something else '
                '(%(contents)s). If it is not needed, run "wipefs --all '
                '%(device)s"; if it is, correct cache_device in '
                '%(file)s.') % {'device': path, 'contents': contents,
                                'file': self._config.file})
        if contents:
            raise exception.ConfigurationError(reason=_(
                '%(path)s holds something else (%(contents)s), as the cache '
                'of another layer. Set that layer again in %(file)s and run '
                '"vmthunder cache drop --all" before changing it, or name '
                'another cache_file.') % {
                    'path': path, 'contents': contents,
                    'file': self._config.file})
        if self._config.cache_device and sysfs.size(path) < _SMALLEST:
            raise self._too_small(path, sysfs.size(path))
        return False

    def file_size(self) -> int:
        """Return how large the cache file may become, in bytes.

        :raises ConfigurationError: there is too little room.
        """
        path = self._config.cache_file
        size = min(self._config.cache_size, files.free_space(path) // 2)
        size -= size % self._unit
        if size < _SMALLEST:
            raise self._too_small(path, size)
        return size

    def give_up(self) -> None:
        """Remove the file, if it is one; nobody uses it.

        :raises OSError: it doesn't go.
        """
        if not self._config.cache_device:
            loop.detach(self._config.cache_file)
            files.remove(self._config.cache_file)

    def _too_small(self, place: str,
                   size: int) -> exception.ConfigurationError:
        return exception.ConfigurationError(reason=_(
            'there is room for a cache of %(size)d MiB only in %(place)s, '
            'and it takes 1024; free some space, or name another cache_file '
            'or cache_device in %(file)s.') % {
                'size': size >> 20, 'place': place,
                'file': self._config.file})
