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

"""What a cache layer needs of a host: modules of the kernel, and programs."""

import dataclasses
import os

from oslo_concurrency import processutils

from os_brick_vmthunder.i18n import _
from os_brick_vmthunder.privileged import presence

_LOADED = '/sys/module'


@dataclasses.dataclass(frozen=True)
class Needs:
    """What has to be there.

    :ivar modules: of the kernel.
    :ivar programs: names of programs.
    :ivar remedy: what to do if something isn't there.
    """

    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    remedy: str = ''

    def lacking(self) -> str:
        """Return in one line what this host lacks, and the remedy.

        Modules that are there are loaded.

        :returns: '' if nothing is lacking.
        """
        for module in self.modules:
            if not _has_module(module):
                return _('the kernel %(kernel)s has no module %(module)s; '
                         '%(remedy)s') % {'kernel': os.uname().release,
                                          'module': module,
                                          'remedy': self.remedy}
        for program in self.programs:
            if not presence.has_program(program):
                return _('the program %(program)s is not installed; '
                         '%(remedy)s') % {'program': program,
                                          'remedy': self.remedy}
        return ''


def _has_module(name: str) -> bool:
    if os.path.isdir(os.path.join(_LOADED, name.replace('-', '_'))):
        return True
    try:
        presence.load_module(name)
    except (processutils.ProcessExecutionError, OSError):
        return False
    return True
