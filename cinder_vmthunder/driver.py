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

"""The volume driver: Cinder's LVM driver, and images as shared templates.

A volume made from an image is a diff: an LV that only means something on top
of its template. Everything here first asks which of both a volume is, and
leaves plain volumes to the LVM driver.
"""

from typing import Any

from cinder import context as cinder_context
from cinder import interface
from cinder.volume.drivers import lvm
from cinder.volume import volume_utils
from os_brick_vmthunder import connection
from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import units

from cinder_vmthunder import assembly
from cinder_vmthunder import attachments
from cinder_vmthunder import checks
from cinder_vmthunder import credentials
from cinder_vmthunder import diffs
from cinder_vmthunder import exception
from cinder_vmthunder import exports
from cinder_vmthunder import images
from cinder_vmthunder import locks
from cinder_vmthunder import manageable
from cinder_vmthunder import options
from cinder_vmthunder import profiles
from cinder_vmthunder import relays
from cinder_vmthunder import statistics
from cinder_vmthunder import stores
from cinder_vmthunder import targets
from cinder_vmthunder import templates
from cinder_vmthunder import volumegroup
from cinder_vmthunder import volumetypes

LOG = logging.getLogger(__name__)

options.register(cfg.CONF)


@interface.volumedriver
class VMThunderDriver(lvm.LVMVolumeDriver):
    """Thin LVM over LIO; volumes from images share their templates."""

    VERSION = '1.0.0'
    CI_WIKI_NAME = 'VMThunder_CI'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(options.DRIVER_OPTS)
        self.backend_name = (
            self.configuration.safe_get('volume_backend_name') or 'VMThunder')
        self._group = volumegroup.VolumeGroup(self.configuration.volume_group)
        self._diffs = diffs.Diffs(self._group)
        self._assemblies = assembly.Assemblies(self._group, self._diffs)
        exporters = targets.Targets(self.configuration)
        self._attachments = records = attachments.Attachments(self.db)
        self._templates = templates.Templates(
            self._group, exporters.template,
            self.configuration.vmthunder_template_retention)
        self._profiles = profiles.Profiles(self._group)
        self._exports = exports.Exports(
            self._group, self._diffs, self._assemblies, exporters,
            credentials.Credentials(self.db), records,
            relays.Relays(self.configuration, records, exporters.diff,
                          exporters.template), self._profiles)

    @property
    def target_mapping(self) -> dict[str, str]:
        """The classes behind target_helper, as the base class sets them."""
        return {**self._target_mapping,
                'lioadm': 'cinder_vmthunder.targets.LIOTarget'}

    @target_mapping.setter
    def target_mapping(self, mapping: dict[str, str]) -> None:
        self._target_mapping = mapping

    @classmethod
    def get_driver_options(cls) -> list[cfg.Opt]:
        return options.DRIVER_OPTS + super().get_driver_options()

    def check_for_setup_error(self) -> None:
        """Check options, tools and volume group.

        :raises BackendNotReady: something is missing; says what to do.
        """
        checks.check_options(self.backend_name, self.configuration)
        with checks.thin_pool(self.backend_name, self.configuration):
            super().check_for_setup_error()
        checks.check_group(self.backend_name, self._group)
        self._export_busy_volumes()

    # Volumes

    def clone_image(self, context: Any, volume: Any, image_location: Any,
                    image_meta: dict[str, Any],
                    image_service: Any) -> tuple[dict | None, bool]:
        """Make a diff over the image's template, which is made if needed.

        An image that can't be shared is left to the ordinary path, which
        makes a plain volume: one that is encrypted, or whose content Glance
        doesn't name. So is a multiattach volume, since a diff is active on
        one host at a time.
        """
        mode = volumetypes.mode_of(volume)
        image = self._image(context, volume, image_meta, image_service)
        if not image.can_be_shared or volume.multiattach:
            LOG.info('Volume %(volume)s gets a full copy of image %(image)s: '
                     'the image is encrypted or has no checksum, or the '
                     'volume is multiattach.',
                     {'volume': volume.id, 'image': image.id})
            return None, False
        with images.user_told(context, volume.id), \
                self._templates.hold(image) as template:
            self._diffs.create(self._new_diff(volume.name, volume, template,
                                              mode))
        if images.must_verify():
            self.db.volume_glance_metadata_bulk_create(
                context, volume.id,
                {'signature_verified': template.verified})
        return {}, True

    def copy_image_to_volume(self, context: Any, volume: Any,
                             image_service: Any, image_id: str,
                             disable_sparse: bool = False) -> None:
        """Write an image to a volume, which loses what it has.

        A diff becomes a new one, over another template.
        """
        diff = self._diff(volume.name)
        if diff:
            image = self._image(context, volume,
                                image_service.show(context, image_id),
                                image_service)
            self._exports.remove(volume, diff, even_if_used=True)
            if image.can_be_shared:
                with images.user_told(context, volume.id), \
                        self._templates.hold(image) as template:
                    self._diffs.create(self._new_diff(
                        diffs.replacement(diff.name), volume, template,
                        diff.mode))
                    self._diffs.replace(diff)
                self._templates.collect_one(diff.template_id)
                return
            with locks.template_lock(diff.template_id):
                self._diffs.replace_by_blank(diff)
            self._templates.collect_one(diff.template_id)
        super().copy_image_to_volume(context, volume, image_service, image_id,
                                     disable_sparse)

    def delete_volume(self, volume: Any) -> None:
        diff = self._diff(volume.name)
        if not diff:
            super().delete_volume(volume)
            return
        self._exports.remove(volume, diff, even_if_used=True)
        self._diffs.delete(diff)
        self._templates.collect_one(diff.template_id)
        LOG.info('Deleted volume %s.', volume.id)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        diff = self._diff(volume.name)
        if diff:
            self._exports.extend(diff, new_size * units.Gi)
        else:
            super().extend_volume(volume, new_size)

    # Snapshots and clones

    def create_snapshot(self, snapshot: Any) -> None:
        diff = self._diff(snapshot.volume_name)
        if diff:
            self._diffs.copy(diff, self._escape_snapshot(snapshot.name),
                             diff.volume_size)
        else:
            super().create_snapshot(snapshot)

    def delete_snapshot(self, snapshot: Any) -> None:
        diff = self._snapshot(snapshot)
        if diff:
            self._diffs.delete(diff)
            self._templates.collect_one(diff.template_id)
        else:
            super().delete_snapshot(snapshot)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        diff = self._snapshot(snapshot)
        if diff:
            self._copy(diff, volume)
        else:
            super().create_volume_from_snapshot(volume, snapshot)

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> Any:
        diff = self._diff(src_vref.name)
        if not diff:
            return super().create_cloned_volume(volume, src_vref)
        self._copy(diff, volume)
        return None

    def revert_to_snapshot(self, context: Any, volume: Any,
                           snapshot: Any) -> None:
        """Have a volume hold again what a snapshot does; it keeps its size.

        :raises NotImplementedError: it is a plain volume, which Cinder
            copies instead.
        """
        diff, wanted = self._diff(volume.name), self._snapshot(snapshot)
        if not diff or not wanted:
            super().revert_to_snapshot(context, volume, snapshot)
            return
        self._exports.remove(volume, diff, even_if_used=True)
        with locks.template_lock(wanted.template_id):
            self._diffs.copy(wanted, diffs.replacement(diff.name),
                             diff.volume_size)
            self._diffs.replace(diff)
        self._templates.collect_one(diff.template_id)

    def _copy(self, source: diffs.Diff, volume: Any) -> None:
        if volume.multiattach:
            raise exception.MultiattachRefused(volume=volume.id)
        self._diffs.copy(source, volume.name, volume.size * units.Gi)

    # Attachments

    def create_export(self, context: Any, volume: Any,
                      connector: dict[str, Any],
                      vg: str | None = None) -> dict[str, str]:
        diff = self._diff(volume.name)
        if diff:
            return self._exports.create(context, volume, diff, connector)
        return super().create_export(context, volume, connector, vg)

    def ensure_export(self, context: Any, volume: Any) -> dict | None:
        diff = self._diff(volume.name)
        if diff:
            self._exports.ensure(context, volume, diff)
            return None
        return super().ensure_export(context, volume)

    def remove_export(self, context: Any, volume: Any) -> None:
        diff = self._diff(volume.name)
        if diff:
            self._exports.remove(volume, diff)
        else:
            super().remove_export(context, volume)

    def initialize_connection(self, volume: Any,
                              connector: dict[str, Any]) -> dict[str, Any]:
        diff = self._diff(volume.name)
        if diff:
            return self._exports.connect(volume, diff, connector)
        return super().initialize_connection(volume, connector)

    def terminate_connection(self, volume: Any,
                             connector: dict[str, Any] | None,
                             **kwargs: Any) -> bool:
        if self._diff(volume.name):
            return self._exports.disconnect(volume, connector)
        return super().terminate_connection(volume, connector, **kwargs)

    # Volumes that come and go

    def copy_volume_to_image(self, context: Any, volume: Any,
                             image_service: Any, image_meta: Any) -> None:
        """Upload a volume as it is now, also while it is written to."""
        diff = self._diff(volume.name)
        if not diff:
            super().copy_volume_to_image(context, volume, image_service,
                                         image_meta)
            return
        with self._assemblies.view(diff) as path:
            volume_utils.upload_volume(context, image_service, image_meta,
                                       path, volume)

    def retype(self, context: Any, volume: Any, new_type: Any, diff: Any,
               host: Any) -> bool:
        """Change a volume's type in place.

        Not to one that is multiattach, or that asks for another snapshot
        mode.

        :returns: whether it was possible; Cinder copies it if not.
        """
        there = self._diff(volume.name)
        specs = new_type['extra_specs']
        if there and (volume_utils.is_multiattach_spec(specs) or
                      volumetypes.snapshot_mode(specs) != there.mode):
            return False
        return super().retype(context, volume, new_type, diff, host)

    def migrate_volume(self, ctxt: Any, volume: Any, host: Any,
                       *args: Any, **kwargs: Any) -> Any:
        """Copy a plain volume within this host; leave diffs to Cinder."""
        if self._diff(volume.name):
            return False, None
        return super().migrate_volume(ctxt, volume, host, *args, **kwargs)

    def manage_existing_object_get_size(self, existing_object: Any,
                                        existing_ref: Any,
                                        object_type: str) -> int:
        """Return the size of what an LV holds; called before managing it."""
        name = existing_ref.get('source-name')
        found = self._group.get(name) if name else None
        if found and found.tags:
            return manageable.size(found, existing_ref)
        return super().manage_existing_object_get_size(
            existing_object, existing_ref, object_type)

    def _get_manageable_resource_info(self, *args: Any) -> list[dict]:
        return manageable.review(super()._get_manageable_resource_info(*args),
                                 self._group.volumes())

    # Statistics

    def _update_volume_stats(self) -> None:
        """Tell the scheduler about the backend, and tidy up templates."""
        volumes = self._group.volumes()
        self._diffs.collect(volumes)
        self._exports.collect(volumes)
        self._templates.collect(volumes)
        self._profiles.collect(volumes)
        self._stats = statistics.of_backend(self, self._group, volumes)

    def _export_busy_volumes(self) -> None:
        """Make those exports again that Cinder's manager will not."""
        for volume in self._attachments.of_busy_volumes(self.host,
                                                        self.cluster_name):
            try:
                self.ensure_export(cinder_context.get_admin_context(),
                                   volume)
            except Exception:
                LOG.exception('Could not export volume %s again.', volume.id)

    def _diff(self, name: str) -> diffs.Diff | None:
        return self._diffs.get(name)

    def _snapshot(self, snapshot: Any) -> diffs.Diff | None:
        return self._diffs.get(self._escape_snapshot(snapshot.name))

    def _image(self, context: Any, volume: Any, meta: dict[str, Any],
               service: Any) -> images.Image:
        return images.Image(
            context, meta, service, volume.size,
            volume_utils.extract_host(volume.service_topic_queue))

    def _new_diff(self, name: str, volume: Any,
                  template: templates.Template,
                  mode: connection.SnapshotMode) -> diffs.Diff:
        chunk = stores.BY_MODE[mode].chunk(
            self.configuration.vmthunder_chunk_size * diffs.SECTOR)
        return diffs.Diff(
            name=name, template_id=template.id, template_size=template.size,
            chunk_sectors=chunk // diffs.SECTOR,
            volume_size=volume.size * units.Gi, mode=mode)
