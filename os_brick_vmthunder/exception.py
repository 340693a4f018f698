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

"""Everything the compute side can tell its caller went wrong.

All are os-brick exceptions, so that Nova, Cinder and others treat them as
they treat any connector's failure. A message names the thing and the remedy.
"""

from os_brick import exception as brick_exception

from os_brick_vmthunder.i18n import _


class VMThunderException(brick_exception.BrickException):
    """Base of all; raise one of the classes below."""

    message = _('VMThunder failed.')


class InvalidConnection(VMThunderException):
    """The connection info isn't a contract this host understands."""

    message = _('Connection info of volume %(volume)s is refused: '
                '%(reason)s')


class InvalidProfile(VMThunderException):
    """A template's profile that makes no sense."""

    message = _('The profile of a template is not used: %(reason)s. The next '
                'boot is recorded to take its place.')


class ModeNotOffered(VMThunderException):
    """This process can't use a volume of that snapshot mode."""

    message = _('Volume %(volume)s is in snapshot mode %(mode)s, which only '
                "Nova's libvirt driver can attach: what it has on this host "
                'is a qcow2 overlay and no disk. Have Cinder export it to '
                'this host anew, with the connector that this host tells '
                'now.')


class ConfigurationError(VMThunderException):
    """The host isn't set up for VMThunder."""

    message = _('This host is not set up for VMThunder: %(reason)s')


class MultipathError(VMThunderException):
    """No usable multipath map for a LUN."""

    message = _('No multipath map for %(what)s: %(reason)s')


class CacheError(VMThunderException):
    """The cache layer failed."""

    message = _('Cache layer %(cache)s failed: %(reason)s')


class DeviceMapperError(VMThunderException):
    """A device-mapper command failed."""

    message = _('Device mapper could not %(action)s %(device)s: %(reason)s')


class DeviceBusy(VMThunderException):
    """Something still uses a device that is to go."""

    message = _('%(device)s is still in use by %(users)s: stop what uses it '
                'and detach again.')


class SnapshotInvalid(VMThunderException):
    """The kernel declared a volume's snapshot invalid."""

    message = _('The snapshot of volume %(volume)s is %(state)s, since an I/O '
                'error in its diff: nothing can be read or written any more. '
                'Detach the volume, see to the cause, and attach it again: '
                'it has all that was written before.')


class NotAttached(VMThunderException):
    """A volume that was to be changed isn't attached to this host."""

    message = _('Volume %(volume)s is not attached to this host.')


class DiffTooSmall(VMThunderException):
    """A diff could overflow, which would destroy its volume."""

    message = _('The diff of volume %(volume)s has %(there)d bytes, too few '
                'for a volume of %(size)d bytes: check its LV on the storage '
                'host.')


class OverlayError(VMThunderException):
    """What a hypervisor would find of a volume isn't as it should be."""

    message = _('The qcow2 overlay of volume %(volume)s could not be made as '
                'long as the volume: %(reason)s. Stop what else has it open, '
                'or check the diff on the storage host, and try again.')


class TargetError(VMThunderException):
    """LIO refused something."""

    message = _('LIO could not %(action)s %(target)s: %(reason)s. Check that '
                'the module target_core_mod is there, configfs is mounted '
                'and the portals are addresses of this host.')


class CinderUnavailable(VMThunderException):
    """Cinder's API didn't answer a command."""

    message = _('Cinder did not answer: %(reason)s')


class NothingFound(VMThunderException):
    """A command was asked for something that isn't there."""

    message = _('No attached volume, no template of one and no image of one '
                'is %(id)s.')
