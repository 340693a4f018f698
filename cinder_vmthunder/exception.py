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


class NotSupported(exception.NotSupportedOperation):
    """A diff can't do what any LVM volume can; nothing was touched."""

    message = _('Volume %(volume)s was made from an image by VMThunder, and '
                'this release cannot %(operation)s such a volume.')


class ConnectorNotSupported(exception.CinderException):
    """The host can't assemble a volume from template and diff."""

    message = _('Volume %(volume)s was made from an image by VMThunder and '
                'host %(host)s cannot attach it: its connector does not '
                'announce vmthunder. Install the vmthunder package there, '
                'enable it in /etc/vmthunder/vmthunder.conf and restart the '
                'service that attaches volumes.')


class AttachedElsewhere(exception.CinderException):
    """A diff is active on one host at a time."""

    message = _('Volume %(volume)s is attached to host %(host)s and can be '
                'on one host at a time: detach it there first.')


class TargetFailed(exception.CinderException):
    """LIO did not do what it was asked."""

    message = _('iSCSI target of %(name)s: %(reason)s')


class VolumeGroupFailed(exception.VolumeBackendAPIException):
    """LVM did not do what it was asked."""

    message = _('LVM could not %(action)s %(name)s: %(reason)s')


class NoSpaceForTemplate(exception.VolumeBackendAPIException):
    """An image's data would not fit."""

    message = _('Image %(image)s has %(needed)d MiB of data and volume group '
                '%(group)s has %(free)d MiB left in its thin pool, with no '
                'unused template to remove: extend the pool or delete '
                'volumes.')
