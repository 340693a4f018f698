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

"""Tests of fetching, checking and writing images."""

import contextlib
import json
import types
import unittest
from unittest import mock

from cinder import exception
import ddt
from oslo_config import fixture

from cinder_vmthunder import images

META = {'id': 'image-1', 'disk_format': 'qcow2', 'container_format': 'bare',
        'size': 1000, 'os_hash_algo': 'sha512', 'os_hash_value': 'abc',
        'checksum': 'def', 'properties': {}}
FETCHED = images.Fetched('/tmp/image', 'qcow2', 1 << 20, None)


def image(**meta):
    return images.Image('context', {**META, **meta}, mock.Mock(), 1,
                        'host@backend')


@ddt.ddt
class ImageTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.config = fixture.Config()
        self.config.setUp()
        self.addCleanup(self.config.cleanUp)
        self.config.config(verify_glance_signatures='disabled',
                           image_conversion_dir='/conversion')
        patcher = mock.patch.multiple(
            images.image_utils, TemporaryImages=mock.DEFAULT,
            check_available_space=mock.DEFAULT, qemu_img_info=mock.DEFAULT,
            check_image_format=mock.DEFAULT,
            verify_glance_image_signature=mock.DEFAULT,
            replace_xenserver_image_with_coalesced_vhd=mock.DEFAULT)
        self.utils = patcher.start()
        self.addCleanup(patcher.stop)
        for name in ('oslo_utils.fileutils.ensure_tree',
                     'cinder.utils.execute'):
            patcher = mock.patch(name)
            setattr(self, name.rpartition('.')[2], patcher.start())
            self.addCleanup(patcher.stop)
        self.present = []
        self.utils['TemporaryImages'].fetch = self.download
        self.info = types.SimpleNamespace(
            file_format='qcow2', virtual_size=1 << 20, backing_file=None)
        self.utils['qemu_img_info'].return_value = self.info

    @contextlib.contextmanager
    def download(self, service, context, image_id, suffix):
        self.present.append(f'{image_id}_{suffix}')
        try:
            yield '/tmp/image'
        finally:
            self.present.pop()

    def fetch(self, **meta):
        with image(**meta).fetch() as fetched:
            self.assertEqual(['image-1_host@backend'], self.present)
        self.assertEqual([], self.present)
        return fetched

    def assertRefused(self, kind, **meta):
        with self.assertRaises(kind) as caught:
            self.fetch(**meta)
        self.assertEqual([], self.present)
        return caught.exception.msg

    @ddt.data(({}, 'sha512:abc'), ({'os_hash_algo': None}, 'md5:def'),
              ({'os_hash_value': None, 'checksum': None}, None))
    @ddt.unpack
    def test_content(self, meta, expected):
        self.assertEqual(expected, image(**meta).content)

    @ddt.data((None, False), ({}, False), ({'img_signature': 'x'}, True))
    @ddt.unpack
    def test_is_signed(self, properties, expected):
        self.assertIs(expected, image(properties=properties).is_signed)

    def test_can_be_shared(self):
        self.assertTrue(image().can_be_shared)
        self.assertFalse(image(cinder_encryption_key_id='x').can_be_shared)
        self.assertFalse(
            image(os_hash_value=None, checksum=None).can_be_shared)

    def test_fetch(self):
        self.assertEqual(FETCHED, self.fetch())
        self.ensure_tree.assert_called_once_with('/conversion')
        self.utils['check_available_space'].assert_called_once_with(
            '/conversion', 1000, 'image-1')
        self.utils['check_image_format'].assert_called_once_with(
            '/tmp/image', 'qcow2', 'image-1', self.info)
        self.utils['verify_glance_image_signature'].assert_not_called()

    def test_vhd_is_checked_by_its_qemu_name(self):
        self.fetch(disk_format='vhd')
        self.assertEqual('vpc',
                         self.utils['check_image_format'].call_args[0][1])

    @ddt.data(True, False)
    def test_signature(self, result):
        self.config.config(verify_glance_signatures='enabled')
        self.utils['verify_glance_image_signature'].return_value = result
        self.assertIs(result, self.fetch().verified)

    def test_wrong_signature(self):
        self.config.config(verify_glance_signatures='enabled')
        self.utils['verify_glance_image_signature'].side_effect = (
            exception.ImageSignatureVerificationException(reason='forged'))
        self.assertRefused(exception.ImageSignatureVerificationException)

    def test_too_large(self):
        self.info.virtual_size = (1 << 30) + 1
        self.assertIn('1GB', self.assertRefused(exception.ImageUnacceptable))

    def test_backing_file(self):
        self.info.backing_file = '/etc/shadow'
        self.assertIn('/etc/shadow',
                      self.assertRefused(exception.ImageUnacceptable))

    def test_other_format_than_claimed(self):
        self.utils['check_image_format'].side_effect = (
            exception.ImageUnacceptable(image_id='image-1', reason='raw'))
        self.assertRefused(exception.ImageUnacceptable)

    def test_no_space_on_the_host(self):
        self.utils['check_available_space'].side_effect = (
            exception.ImageTooBig(image_id='image-1', reason='full'))
        self.assertRefused(exception.ImageTooBig)

    def test_conversion_disabled(self):
        self.config.config(image_conversion_disable=True)
        self.assertRefused(exception.ImageConversionNotAllowed)
        self.fetch(disk_format='raw')

    def test_compressed(self):
        self.config.config(allow_compression_on_image_upload=True)
        with mock.patch.object(images, 'accelerator') as accelerator:
            self.fetch(container_format='compressed')
            accelerator.ImageAccel.assert_called_once_with(
                '/tmp/image', '/tmp/image')
            accelerator.is_gzip_compressed.return_value = False
            self.assertIn('gzip', self.assertRefused(
                exception.ImageUnacceptable, container_format='compressed'))

    def test_compression_disallowed(self):
        self.config.config(allow_compression_on_image_upload=False)
        self.assertRefused(exception.ImageUnacceptable,
                           container_format='compressed')

    def test_xenserver(self):
        self.fetch(disk_format='vhd', container_format='ovf')
        self.utils['replace_xenserver_image_with_coalesced_vhd'
                   ].assert_called_once_with('/tmp/image')

    def test_data_size_counts_neither_holes_nor_zeroes(self):
        self.execute.return_value = json.dumps([
            {'length': 10, 'data': False, 'zero': True},
            {'length': 20, 'data': True, 'zero': False},
            {'length': 30, 'data': True, 'zero': True},
            {'length': 40, 'data': True, 'zero': False}]), ''
        self.assertEqual(60, images.data_size(FETCHED))

    def test_write(self):
        images.write(FETCHED, '/dev/vg/template')
        words = self.execute.call_args[0]
        self.assertEqual(('qemu-img', 'convert'), words[:2])
        self.assertEqual(('/tmp/image', '/dev/vg/template'), words[-2:])
        # without these two, zeroes would take space
        self.assertIn('-n', words)
        self.assertIn('--target-is-zero', words)
        self.assertEqual({'run_as_root': True}, self.execute.call_args[1])

    @ddt.data(
        exception.ImageTooBig(image_id='x', reason='y'),
        exception.ImageSignatureVerificationException(reason='y'),
        exception.ImageConversionNotAllowed(image_id='x', reason='y'))
    def test_user_is_told(self, error):
        with mock.patch.object(images.message_api, 'API') as api:
            with self.assertRaises(type(error)):
                with images.user_told('context', 'volume-1'):
                    raise error
        keywords = api.return_value.create.call_args[1]
        self.assertEqual('volume-1', keywords['resource_uuid'])
        self.assertEqual(images._USER_MESSAGES[type(error)],
                         keywords['detail'])

    def test_user_is_not_told_of_other_errors(self):
        with mock.patch.object(images.message_api, 'API') as api:
            with self.assertRaises(ValueError):
                with images.user_told('context', 'volume-1'):
                    raise ValueError
        api.assert_not_called()

    def test_must_verify(self):
        self.assertFalse(images.must_verify())
        self.config.config(verify_glance_signatures='enabled')
        self.assertTrue(images.must_verify())
