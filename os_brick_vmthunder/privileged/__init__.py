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

"""What needs root: one long-lived privileged process does it all.

oslo.privsep only lets a context run functions of its own package, so that
os-brick's can't serve here. This one shares os-brick's configuration section:
where os-brick may become root, so may VMThunder.

Its process has few capabilities and no umask: what it makes has to be given
its mode. The commands that it starts are root's, with all there is.
"""

from os_brick import privileged as brick_privileged
from oslo_privsep import capabilities
from oslo_privsep import priv_context

default = priv_context.PrivContext(
    'os_brick_vmthunder',
    cfg_section='privsep_osbrick',
    pypath=__name__ + '.default',
    capabilities=[
        *brick_privileged.capabilities,
        capabilities.CAP_MKNOD,
        # to open what libvirt gave to QEMU's user
        capabilities.CAP_DAC_OVERRIDE,
        # to name the users of a device that is busy
        capabilities.CAP_SYS_PTRACE],
    logger_name=brick_privileged.__name__)
