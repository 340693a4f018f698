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

"""Having LIO turn all initiators away from a target, and let them in again.

Disabling a portal group waits for what its backing device owes its
initiators, which may be for ever. So nothing here takes part in the locking
of :mod:`.lio`; and while one is being disabled, the kernel still calls it
enabled, though it answers nobody any more.
"""

import os

from os_brick_vmthunder import privileged

_GROUP = '/sys/kernel/config/target/iscsi/%s/tpgt_1'


@privileged.default.entrypoint
def read(iqn: str) -> bool | None:
    """Tell whether a target lets initiators in.

    :returns: None if there is none, or one that isn't complete.
    """
    group = _GROUP % iqn
    try:
        lun = f'{group}/lun/lun_0'
        if not os.listdir(f'{group}/np') or not any(
                os.path.islink(f'{lun}/{name}') for name in os.listdir(lun)):
            return None
        with open(f'{group}/enable') as file:
            return file.read().strip() == '1'
    except OSError:
        return None


@privileged.default.entrypoint
def write(iqn: str, on: bool) -> None:
    """Have a target let initiators in, or throw all out.

    Throwing them out is done at once; this returns when nothing is owed to
    them any more.

    :raises OSError: there is no such target, or the kernel refuses.
    """
    with open(_GROUP % iqn + '/enable', 'w') as file:
        file.write(str(int(on)))
