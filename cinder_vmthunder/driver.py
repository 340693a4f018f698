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

from cinder import exception as cinder_exception
from cinder import interface
from cinder.volume.drivers import lvm
from cinder.volume import volume_utils
from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import units

from cinder_vmthunder import attachments
from cinder_vmthunder import checks
from cinder_vmthunder import credentials
from cinder_vmthunder import diffs
from cinder_vmthunder import exception
from cinder_vmthunder import exports
from cinder_vmthunder.i18n import _
from cinder_vmthunder import images
from cinder_vmthunder import options
from cinder_vmthunder import relays
from cinder_vmthunder import targets
from cinder_vmthunder import templates
from cinder_vmthunder import volumegroup

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
        template_target = targets.TemplateTarget(self.configuration)
        diff_target = targets.DiffTarget(configuration=self.configuration)
        records = attachments.Attachments(self.db)
        self._templates = templates.Templates(
            self._group, template_target,
            self.configuration.vmthunder_template_retention)
        self._exports = exports.Exports(
            self._group, diff_target, template_target,
            credentials.Credentials(self.db), records,
            relays.Relays(self.configuration, records, diff_target,
                          template_target))

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
        image = images.Image(
            context, image_meta, image_service, volume.size,
            volume_utils.extract_host(volume.service_topic_queue))
        if image.is_encrypted or not image.content or volume.multiattach:
            LOG.info('Volume %(volume)s gets a full copy of image %(image)s: '
                     'the image is encrypted or has no checksum, or the '
                     'volume is multiattach.',
                     {'volume': volume.id, 'image': image.id})
            return None, False
        with images.user_told(context, volume.id), \
                self._templates.hold(image) as template:
            diff = self._diffs.create(
                volume.name, volume.size * units.Gi, template.id,
                template.size, self.configuration.vmthunder_chunk_size)
        self._diffs.clear(diff)
        if images.must_verify():
            self.db.volume_glance_metadata_bulk_create(
                context, volume.id,
                {'signature_verified': template.verified})
        return {}, True

    def delete_volume(self, volume: Any) -> None:
        diff = self._diff(volume.name)
        if not diff:
            super().delete_volume(volume)
            return
        self._exports.remove(volume, diff, even_if_used=True)
        self._diffs.delete(diff)
        self._templates.collect_one(diff.template_id)
        LOG.info('Deleted volume %s.', volume.id)

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

    # What a diff can't do yet

    def create_snapshot(self, snapshot: Any) -> None:
        self._refuse_diff(snapshot.volume, _('snapshot'))
        super().create_snapshot(snapshot)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        self._refuse_diff(snapshot.volume, _('make a volume from a snapshot '
                                             'of'))
        super().create_volume_from_snapshot(volume, snapshot)

    def revert_to_snapshot(self, context: Any, volume: Any,
                           snapshot: Any) -> None:
        self._refuse_diff(volume, _('revert'))
        super().revert_to_snapshot(context, volume, snapshot)

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> Any:
        self._refuse_diff(src_vref, _('clone'))
        return super().create_cloned_volume(volume, src_vref)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        self._refuse_diff(volume, _('extend'))
        super().extend_volume(volume, new_size)

    def copy_image_to_volume(self, context: Any, volume: Any,
                             image_service: Any, image_id: str,
                             disable_sparse: bool = False) -> None:
        self._refuse_diff(volume, _('write another image to'))
        super().copy_image_to_volume(context, volume, image_service, image_id,
                                     disable_sparse)

    def copy_volume_to_image(self, context: Any, volume: Any,
                             image_service: Any, image_meta: Any) -> None:
        self._refuse_diff(volume, _('make an image of'))
        super().copy_volume_to_image(context, volume, image_service,
                                     image_meta)

    def retype(self, context: Any, volume: Any, new_type: Any, diff: Any,
               host: Any) -> bool:
        self._refuse_diff(volume, _('retype'))
        return super().retype(context, volume, new_type, diff, host)

    def migrate_volume(self, ctxt: Any, volume: Any, host: Any,
                       *args: Any, **kwargs: Any) -> Any:
        self._refuse_diff(volume, _('migrate'))
        return super().migrate_volume(ctxt, volume, host, *args, **kwargs)

    def unmanage(self, volume: Any) -> None:
        self._refuse_diff(volume, _('unmanage'))
        super().unmanage(volume)

    def manage_existing_object_get_size(self, existing_object: Any,
                                        existing_ref: Any,
                                        object_type: str) -> int:
        """Refuse templates and diffs; this is asked before managing."""
        name = existing_ref.get('source-name', '')
        found = self._group.get(name) if name else None
        if found and found.tags:
            raise cinder_exception.ManageExistingInvalidReference(
                existing_ref=existing_ref,
                reason=_('the LV is a template or a diff of VMThunder.'))
        return super().manage_existing_object_get_size(
            existing_object, existing_ref, object_type)

    def _get_manageable_resource_info(self, *args: Any) -> list[dict]:
        entries = super()._get_manageable_resource_info(*args)
        ours = {volume.name for volume in self._group.volumes()
                if volume.tags}
        for entry in entries:
            if entry['reference']['source-name'] in ours:
                entry.update(safe_to_manage=False,
                             reason_not_safe=_('used by VMThunder'))
        return entries

    def _refuse_diff(self, volume: Any, operation: str) -> None:
        if self._diff(volume['name']):
            raise exception.NotSupported(volume=volume['id'],
                                         operation=operation)

    # Statistics

    def _update_volume_stats(self) -> None:
        """Tell the scheduler about the backend, and tidy up templates."""
        super()._update_volume_stats()
        if not self._stats:
            return
        volumes = self._group.volumes()
        self._templates.collect(volumes)
        found = templates.find(volumes)
        self._stats['vendor_name'] = 'VMThunder'
        for pool in self._stats['pools']:
            pool['vmthunder'] = True
            pool['vmthunder_templates'] = len(found)
            pool['vmthunder_templates_gb'] = round(
                sum(template.used_space for template in found) / units.Gi, 2)

    def _diff(self, name: str) -> diffs.Diff | None:
        return self._diffs.get(name)
