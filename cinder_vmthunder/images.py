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

"""Glance images: fetched, checked and written as Cinder itself would.

Cinder trusts whoever answers ``clone_image()`` to have checked the image.
All checks of the ordinary path are therefore made here too, by the same
functions of Cinder and under the same options.
"""

import contextlib
import dataclasses
import json
from typing import Any, Iterator

from cinder import exception
from cinder.image import accelerator
from cinder.image import image_utils
from cinder.message import api as message_api
from cinder.message import message_field
from cinder import utils
from cinder.volume import throttling
from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import excutils
from oslo_utils import fileutils

from cinder_vmthunder.i18n import _

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

_USER_MESSAGES: dict[type[Exception], Any] = {
    exception.ImageTooBig:
        message_field.Detail.NOT_ENOUGH_SPACE_FOR_IMAGE,
    exception.ImageSignatureVerificationException:
        message_field.Detail.SIGNATURE_VERIFICATION_FAILED,
    exception.ImageConversionNotAllowed:
        message_field.Detail.IMAGE_FORMAT_UNACCEPTABLE,
}


@dataclasses.dataclass(frozen=True)
class Fetched:
    """An image's file on this host, checked.

    :ivar format: as qemu-img calls it.
    :ivar size: bytes of the disk in it.
    :ivar verified: whether its signature is right; None if none was asked
        for, False if it has none.
    """

    path: str
    format: str
    size: int
    verified: bool | None


@dataclasses.dataclass(frozen=True)
class Image:
    """An image that a volume is to be made from.

    :ivar meta: as Glance describes it.
    :ivar service: fetches it.
    :ivar volume_size: GiB, of the volume that asks.
    :ivar suffix: of temporary files, by which a restarted cinder-volume
        finds what a killed one left.
    """

    context: Any
    meta: dict[str, Any]
    service: Any
    volume_size: int
    suffix: str

    @property
    def id(self) -> str:
        return self.meta['id']

    @property
    def content(self) -> str | None:
        """What names the image's bytes, None if Glance doesn't say."""
        algorithm = self.meta.get('os_hash_algo')
        digest = self.meta.get('os_hash_value')
        if algorithm and digest:
            return f'{algorithm}:{digest}'
        checksum = self.meta.get('checksum')
        return f'md5:{checksum}' if checksum else None

    @property
    def can_be_shared(self) -> bool:
        """Whether it isn't encrypted, and Glance names its bytes."""
        return bool(self.content and
                    not self.meta.get('cinder_encryption_key_id'))

    @property
    def is_signed(self) -> bool:
        return any(key.startswith('img_signature')
                   for key in self.meta.get('properties') or {})

    def check_size(self, size: int) -> None:
        """Refuse a disk that the volume is too small for.

        :param size: bytes.
        :raises ImageUnacceptable: as the ordinary path does.
        """
        image_utils.check_virtual_size(size, self.volume_size, self.id)

    @contextlib.contextmanager
    def fetch(self) -> Iterator[Fetched]:
        """Download and check the image; its file goes with the context.

        :raises CinderException: of the kind that the ordinary path raises.
        """
        image_utils.check_image_conversion_disable(
            self.meta['disk_format'], 'raw', self.id)
        fileutils.ensure_tree(CONF.image_conversion_dir)
        image_utils.check_available_space(
            CONF.image_conversion_dir, self.meta['size'], self.id)
        with image_utils.TemporaryImages.fetch(
                self.service, self.context, self.id, self.suffix) as path:
            verified = self.verify(path)
            self._unpack(path)
            info = image_utils.qemu_img_info(path)
            self.check_size(info.virtual_size)
            if info.backing_file is not None:
                raise exception.ImageUnacceptable(
                    image_id=self.id,
                    reason=_('fmt=%(fmt)s backed by: %(backing_file)s') % {
                        'fmt': info.file_format,
                        'backing_file': info.backing_file})
            image_utils.check_image_format(
                path, image_utils.fixup_disk_format(self.meta['disk_format']),
                self.id, info)
            yield Fetched(path, info.file_format, info.virtual_size,
                          verified)

    def verify(self, path: str) -> bool | None:
        """Verify the signature of a downloaded image, if Cinder is to.

        :raises ImageSignatureVerificationException: it is wrong.
        """
        if not must_verify():
            return None
        return image_utils.verify_glance_image_signature(
            self.context, self.service, self.id, path)

    def _unpack(self, path: str) -> None:
        if self.meta.get('container_format') == 'compressed':
            if not CONF.allow_compression_on_image_upload:
                raise exception.ImageUnacceptable(
                    image_id=self.id,
                    reason=_('Image compression disallowed, but '
                             'container_format is compressed.'))
            if not accelerator.is_gzip_compressed(path):
                raise exception.ImageUnacceptable(
                    image_id=self.id,
                    reason=_('Unsupported compressed image format found. '
                             'Only gzip is supported currently'))
            accelerator.ImageAccel(path, path).decompress_img(
                run_as_root=True)
        if image_utils.is_xenserver_format(self.meta):
            image_utils.replace_xenserver_image_with_coalesced_vhd(path)


def must_verify() -> bool:
    """Whether Cinder is to verify signatures of images."""
    return CONF.verify_glance_signatures != 'disabled'


def data_size(image: Fetched) -> int:
    """Return the bytes of an image's disk that aren't zeroes."""
    out, _err = utils.execute(
        'env', 'LC_ALL=C', 'qemu-img', 'map', '-f', image.format,
        '--output=json', image.path, run_as_root=True)
    return sum(extent['length'] for extent in json.loads(out)
               if extent['data'] and not extent['zero'])


def write(image: Fetched, device: str) -> None:
    """Write an image's disk to a device that reads as zeroes.

    Only data is written, so that zeroes take no space in a thin pool.

    :raises ProcessExecutionError: qemu-img failed.
    """
    throttle = throttling.Throttle.get_default()
    with throttle.subcommand(image.path, device) as command:
        utils.execute(
            *command['prefix'], 'qemu-img', 'convert', '-n',
            '--target-is-zero', '-t', 'none', '-f', image.format,
            '-O', 'raw', image.path, device, run_as_root=True)


@contextlib.contextmanager
def user_told(context: Any, volume_id: str) -> Iterator[None]:
    """Leave the user the message that the ordinary path would leave."""
    try:
        yield
    except tuple(_USER_MESSAGES) as error:
        with excutils.save_and_reraise_exception():
            message_api.API().create(
                context, message_field.Action.COPY_IMAGE_TO_VOLUME,
                resource_uuid=volume_id,
                detail=_USER_MESSAGES[type(error)], exception=error)
