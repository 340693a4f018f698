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

"""What the driver raises, as kinds that Cinder knows."""

from cinder import exception

from cinder_vmthunder.i18n import _


class BackendNotReady(exception.CinderException):
    """The backend isn't set up for VMThunder."""

    message = _('Backend %(backend)s is not set up for VMThunder: '
                '%(reason)s')


class MultiattachRefused(exception.NotSupportedOperation):
    """A diff is active on one host at a time; nothing was touched."""

    message = _('Volume %(volume)s cannot be multiattach, since what it is '
                'to be a copy of was made from an image by VMThunder and can '
                'be on one host at a time: choose another volume type.')


class AttachedElsewhere(exception.CinderException):
    """A diff is active on one host at a time."""

    message = _('Volume %(volume)s is attached to host %(host)s and can be '
                'on one host at a time: detach it there first.')


class CannotMigrate(AttachedElsewhere):
    """A second host for the same server, for a snapshot of the kernel's."""

    message = _('Volume %(volume)s is attached to host %(host)s and can be '
                'on one host at a time, so its server cannot be '
                'live-migrated: use a volume type with '
                'vmthunder:snapshot_mode=vmm for that.')


class TargetFailed(exception.CinderException):
    """LIO did not do what it was asked."""

    message = _('iSCSI target of %(name)s: %(reason)s')


class AssemblyFailed(exception.VolumeBackendAPIException):
    """A volume could not be put together on the backend."""

    message = _('The backend could not assemble %(name)s: %(reason)s')


class DiffFailed(exception.VolumeBackendAPIException):
    """What a diff begins with could not be read or written."""

    message = _('The diff %(name)s cannot be used: %(reason)s. See the '
                "kernel's log of this host.")


class OverlayDamaged(exception.VolumeBackendAPIException):
    """What an overlay says of itself doesn't fit together."""

    message = _('The qcow2 overlay on %(name)s is damaged and was not '
                'touched: make a snapshot of its LV, then see what '
                '"qemu-img check" says.')


class InvalidSnapshotMode(exception.InvalidVolumeType):
    """A volume type asks for what there isn't."""

    message = _("Extra spec %(spec)s of the volume's type is %(value)r: set "
                'it to one of %(modes)s.')


class VolumeGroupFailed(exception.VolumeBackendAPIException):
    """LVM did not do what it was asked."""

    message = _('LVM could not %(action)s %(name)s: %(reason)s')


class NoSpaceForTemplate(exception.VolumeBackendAPIException):
    """An image's data would not fit."""

    message = _('Image %(image)s has %(needed)d MiB of data and volume group '
                '%(group)s has %(free)d MiB left in its thin pool, with no '
                'unused template to remove: extend the pool or delete '
                'volumes.')
