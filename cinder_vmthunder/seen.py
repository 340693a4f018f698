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

"""What was learned of LVs, for as long as they are the same LVs.

A command of LVM takes half of the time that a volume takes to be made. What
never changes of an LV need not be asked again: the kernel tells at once
whether the LV by a name is still the one that was asked about.
"""

from typing import Generic, TypeVar

from cinder_vmthunder import volumegroup

T = TypeVar('T')


class Seen(Generic[T]):
    """Remembers one thing of each LV; other processes may change LVs.

    :param group: where the LVs are.
    """

    def __init__(self, group: volumegroup.VolumeGroup) -> None:
        self._group = group
        self._known: dict[str, tuple[str, T]] = {}

    def get(self, name: str) -> T | None:
        """Return what was learned of an LV; None if it may be another one.

        :param name: of the LV.
        """
        identity, known = self._known.get(name, ('', None))
        if not identity or self._group.identity(name) != identity:
            return None
        return known

    def put(self, name: str, known: T) -> None:
        """Remember something of an LV, if it has its device.

        Whoever could replace the LV has to be kept from it meanwhile.
        """
        identity = self._group.identity(name)
        if identity:
            self._known[name] = identity, known

    def forget(self, name: str) -> None:
        self._known.pop(name, None)
