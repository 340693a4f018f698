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

"""os-brick's connector for ``vmthunder`` connections."""

import contextlib
import dataclasses
from typing import Any, Iterator, Optional

from os_brick import exception as brick_exception
from os_brick import initiator
from os_brick.initiator.connectors import base
from os_brick.initiator.connectors import iscsi
from os_brick import utils
from oslo_log import log as logging

from os_brick_vmthunder import announcement
from os_brick_vmthunder import caches
from os_brick_vmthunder import conf
from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder import export
from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder import linger
from os_brick_vmthunder import locks
from os_brick_vmthunder import logins
from os_brick_vmthunder import marks
from os_brick_vmthunder import modes
from os_brick_vmthunder import overlay
from os_brick_vmthunder import paths
from os_brick_vmthunder import snapshot
from os_brick_vmthunder import stack
from os_brick_vmthunder import volumedevice

LOG = logging.getLogger(__name__)


class VMThunderConnector(base.BaseLinuxConnector):
    """Attaches volumes whose template this host caches.

    Every step finds what an earlier, killed attempt left and goes on from
    there; nothing is remembered between calls.
    """

    def __init__(self, root_helper: str, driver: Any = None,
                 execute: Any = None, use_multipath: bool = True,
                 device_scan_attempts: int =
                 initiator.DEVICE_SCAN_ATTEMPTS_DEFAULT,
                 *args: Any, **kwargs: Any) -> None:
        # Always multipath, whatever the caller's own policy: only a map
        # can queue when the network is away.
        self._iscsi = iscsi.ISCSIConnector(
            root_helper, driver=driver, execute=execute, use_multipath=True,
            device_scan_attempts=device_scan_attempts)
        super().__init__(root_helper, driver=driver, execute=execute,
                         device_scan_attempts=device_scan_attempts,
                         *args, **kwargs)
        self._paths = paths.Paths(self._iscsi, root_helper)
        self._config = conf.load()
        self._cache = caches.create(self._config)

    @staticmethod
    def get_connector_properties(root_helper: str, *args: Any,
                                 **kwargs: Any) -> dict[str, Any]:
        """Announce to Cinder that this host takes vmthunder connections.

        :returns: see :mod:`.announcement`.
        """
        try:
            config = conf.load()
        except exception.ConfigurationError as error:
            # told again when a volume of VMThunder is attached; others
            # don't care
            LOG.warning('%s', error)
            config = conf.HostConfig(relay_port=0)
        return {announcement.KEY: _announcement(config).to_dict()}

    def set_execute(self, execute: Any) -> None:
        super().set_execute(execute)
        self._iscsi.set_execute(execute)

    def get_search_path(self) -> str:
        return '/dev/mapper'

    def get_volume_paths(
            self, connection_properties: dict[str, Any]) -> list[str]:
        """Return the volume's device, if it is attached here."""
        volume = connection.Connection.from_dict(connection_properties)
        found = _device(volume).find()
        return [found] if found else []

    @utils.trace
    def connect_volume(self, connection_properties: dict[str, Any]
                       ) -> dict[str, str]:
        """Attach a volume.

        :param connection_properties: see :mod:`.connection`.
        :returns: ``{'type': 'block', 'path': the volume's device}``; in vmm
            mode with its ``'format'``, qcow2, and its ``'backing'`` device.
        :raises VMThunderException: attached nothing, left nothing behind.
        """
        volume = connection.Connection.from_dict(connection_properties)
        modes.check(volume)
        device = _device(volume)
        self._verify()
        self._reach(volume.template)
        with locks.host_lock('volume', volume.volume_id):
            self._drop_stale(volume, device)
            with self._undone_on_error(volume, device):
                self._build(volume, device)
        hostprofiles.settle(volume.heard)
        self._sweep()
        return device.info

    @utils.trace
    def disconnect_volume(self, connection_properties: dict[str, Any],
                          device_info: Optional[dict[str, Any]],
                          force: bool = False,
                          ignore_errors: bool = False) -> None:
        """Detach a volume, and its template with the last one.

        :param connection_properties: as for connecting.
        :param device_info: not used, all is read from the system.
        :param force: go on after a failed step and tell at the end.
        :param ignore_errors: with force, don't tell either.
        :raises DeviceBusy: something still has the volume's device open.
        """
        volume = connection.Connection.from_dict(connection_properties)
        errors = brick_exception.ExceptionChainer()
        with locks.host_lock('volume', volume.volume_id):
            self._take_down(volume, errors, force)
        self._sweep()
        if errors and not ignore_errors:
            raise errors

    @utils.trace
    def extend_volume(self, connection_properties: dict[str, Any]) -> int:
        """See the new size of a volume that was extended while attached.

        :param connection_properties: as it was attached with; what size it
            tells doesn't matter.
        :returns: the volume's size in bytes.
        :raises NotAttached: it isn't attached to this host.
        :raises MultipathError: not all paths to its diff answer.
        """
        volume = connection.Connection.from_dict(connection_properties)
        device = _device(volume)
        with locks.host_lock('volume', volume.volume_id):
            cached = self._stack(volume.template).cached
            if cached is None or device.find() is None:
                raise exception.NotAttached(volume=volume.volume_id)
            device.create(cached, self._paths.resize(volume.diff))
            return device.size

    @utils.trace
    def grow_volume(self, connection_properties: dict[str, Any]) -> None:
        """See to it that a hypervisor's next start finds the volume's size.

        :param connection_properties: of a volume that is attached here, and
            that no hypervisor has open, here or elsewhere.
        :raises OverlayError: in vmm mode; it failed.
        """
        volume = connection.Connection.from_dict(connection_properties)
        with locks.host_lock('volume', volume.volume_id):
            _device(volume).grow()

    def get_all_available_volumes(
            self,
            connection_properties: Optional[dict[str, Any]] = None,
    ) -> list[str]:
        return []

    def _verify(self) -> None:
        try:
            self._cache.verify()
        except OSError as error:  # of the device; goes on without it
            LOG.warning('The cache of this host does not work: %s', error)
        self._paths.verify()

    def _reach(self, template: connection.Template) -> None:
        """Log in to a template; nobody else waits for that.

        Only who has nothing of it yet waits for parents that don't serve:
        what it fetched from the root, it would fetch for its children too.
        """
        if self._stack(template).cached is None:
            self._paths.reach(template, self._config.relay_wait)
            return
        if marks.age(template.id) is not None:
            # Some still read from here whom Cinder can't know of any more.
            # A parent that is offered now might be below them.
            template = dataclasses.replace(template, paths=tuple(
                path for path in template.paths if not path.relay))
        self._paths.reach(template)

    def _drop_stale(self, volume: connection.Connection,
                    device: volumedevice.VolumeDevice) -> None:
        """Drop a diff that was taken from this host behind its back.

        Another may have written to it since: what the kernel knows of it is
        stale, as are the sessions' secrets.
        """
        if paths.running(volume.diff.id):
            return
        if device.find() or logins.broken(volume.diff):
            device.remove()
            self._paths.disconnect(volume.diff, force=True)

    def _build(self, volume: connection.Connection,
               device: volumedevice.VolumeDevice) -> None:
        # The template first: other hosts may be waiting to be served.
        with locks.host_lock('template', volume.template.id):
            cached = self._stack(volume.template).build(volume.template)
            device.claim(cached)
        self._paths.reach(volume.diff)
        diff = self._paths.connect(volume.diff)
        if not device.fits(diff):  # a map from before the last extension
            self._paths.resize(volume.diff)
        device.create(cached, diff)

    def _take_down(self, volume: connection.Connection,
                   errors: brick_exception.ExceptionChainer,
                   force: bool) -> None:
        with errors.context(force, 'Removing the device of volume %s failed',
                            volume.volume_id):
            _device(volume).remove()
        with errors.context(force, 'Releasing template %s failed',
                            volume.template.id):
            with locks.host_lock('template', volume.template.id):
                self._stack(volume.template).release(force=force)
        with errors.context(force, 'Disconnecting the diff of volume %s '
                            'failed', volume.volume_id):
            self._paths.disconnect(volume.diff, force)

    def _stack(self, template: connection.Template) -> stack.HostStack:
        return stack.HostStack(template.id, self._paths, self._cache,
                               self._config)

    def _sweep(self) -> None:
        try:
            linger.sweep(self._paths, self._cache, self._config)
        except Exception:  # of others' templates; not this caller's matter
            LOG.exception('Looking for unused templates failed')

    @contextlib.contextmanager
    def _undone_on_error(self, volume: connection.Connection,
                         device: volumedevice.VolumeDevice
                         ) -> Iterator[None]:
        attached = device.find() is not None
        try:
            yield
        except Exception:
            if attached:
                raise  # a guest may be using it
            errors = brick_exception.ExceptionChainer()
            self._take_down(volume, errors, force=True)
            if errors:
                LOG.warning('Undoing the attach of volume %(volume)s left '
                            'something behind: %(errors)s',
                            {'volume': volume.volume_id, 'errors': errors})
            raise


def _device(volume: connection.Connection) -> volumedevice.VolumeDevice:
    kinds: dict[connection.SnapshotMode, type[volumedevice.VolumeDevice]] = {
        connection.SnapshotMode.DM: snapshot.VolumeSnapshot,
        connection.SnapshotMode.VMM: overlay.VolumeOverlay}
    return kinds[volume.mode](volume)


def _announcement(config: conf.HostConfig) -> announcement.Announcement:
    # What isn't cached would only pass through, and cost both hosts.
    relays = (config.relay_port and config.cache != 'none' and
              export.supported())
    return announcement.Announcement(
        version=connection.VERSION,
        relay_port=config.relay_port if relays else None,
        relay_address=config.relay_address or None if relays else None,
        zone=config.zone or None,
        modes=tuple(mode.value for mode in modes.offered()),
        profiles=None if config.prefetch == conf.PREFETCH_OFF else tuple(
            announcement.RecordedProfile(template_id, what.text,
                                         what.replaces)
            for template_id, what in hostprofiles.unheard()))
