# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Tempest's configuration for a control plane."""

import pathlib
import random
import string
import subprocess
import tempfile

from tests.lab.controlplane import openstack
from tests.lab.controlplane import plane
from tests.lab.controlplane import settings

_TEMPLATE = pathlib.Path(__file__).with_name('tempest.conf')
_IMAGE_SIZE = 8 << 20


def upload_image(cloud: plane.ControlPlane) -> str:
    """Make the image that tests make volumes from, and return its id."""
    with tempfile.TemporaryDirectory() as directory:
        raw = pathlib.Path(directory, 'image.raw')
        raw.write_bytes(random.Random('tempest').randbytes(_IMAGE_SIZE))
        file = raw.with_suffix('.qcow2')
        subprocess.run(['qemu-img', 'convert', '-O', 'qcow2', raw, file],
                       check=True)
        return cloud.upload_image(file, 'qcow2', 'tempest',
                                  visibility='public')


def write(image_id: str, directory: pathlib.Path) -> dict[str, str]:
    """Write tempest.conf, and return the environment that names it.

    :param image_id: what tests make volumes from.
    :param directory: where it, logs and locks go.
    """
    directory.mkdir(exist_ok=True)
    text = string.Template(_TEMPLATE.read_text()).substitute(
        directory=directory, image=image_id, keystone=openstack.KEYSTONE,
        region=settings.REGION, password=settings.PASSWORD)
    (directory / _TEMPLATE.name).write_text(text)
    # Each failure would bring hundreds of lines: they are in tempest.log.
    return {'TEMPEST_CONFIG_DIR': str(directory),
            'TEMPEST_CONFIG': _TEMPLATE.name, 'OS_LOG_CAPTURE': '0'}
