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

"""What is on a storage host, besides Cinder's own view; all runs there."""

import glob
import os
import pathlib
import re
import subprocess

_TARGET = '/sys/kernel/config/target'
_CINDER = pathlib.Path('/var/lib/cinder')
# Kept: a few lock files for all templates there will ever be, what the
# coordinator itself has, and what Cinder's other parts and os-brick leave.
_KEPT = re.compile(r'cinder-vmthunder-template-..|groups|tmp|'
                   r'cinder-cleanup_incomplete_backups_\d+|cinder-lioadm|'
                   r'os-brick-connect_.*')
# What begins with these has to do with a volume or snapshot, or with what
# somebody does with one.
_OF_VOLUMES = ('volume-', '_snapshot-', 'view-', 'origin-', 'replacement-')


def exports(volume_id: str = '') -> list[str]:
    """Return the targets and backstores, of one volume if it is named."""
    # unlike pathlib's, this glob takes it that what it looks into goes
    return [os.path.basename(path)
            for pattern in ('iscsi/iqn.*', 'core/iblock_*/*')
            for path in glob.glob(f'{_TARGET}/{pattern}')
            if os.path.isdir(path) and volume_id in os.path.basename(path)]


def _logical_volumes(group: str) -> list[str]:
    listed = subprocess.run(
        ['lvs', '--noheadings', '-o', 'lv_name', group], check=True,
        capture_output=True, text=True).stdout.split()
    return [name for name in listed if name.startswith(_OF_VOLUMES)]


def templates(group: str, image_id: str) -> list[str]:
    """Return the LVs that are templates of an image."""
    return subprocess.run(
        ['lvs', '--noheadings', '-o', 'lv_name', group, '-S',
         f'lv_tags = "vmthunder.image={image_id}"'], check=True,
        capture_output=True, text=True).stdout.split()


def has_profile(group: str, template_id: str) -> bool:
    """Tell whether a template's profile is kept."""
    return not subprocess.run(
        ['lvs', f'{group}/profile-{template_id}'],
        capture_output=True).returncode


def leftovers(group: str) -> list[str]:
    """Return all that volumes make on the host, and that is still there.

    Templates are not counted, nor their profiles.
    """
    left = exports()
    left += _logical_volumes(group)
    left += [path.name for path in
             pathlib.Path('/dev/mapper').glob('vmthunder-assembly-*')]
    left += [str(path) for path in (_CINDER / 'conversion').iterdir()]
    left += [str(path) for path in (_CINDER / 'locks').iterdir()
             if not _KEPT.fullmatch(path.name)]
    left += subprocess.run(['pgrep', '-a', 'qemu-img'], capture_output=True,
                           text=True).stdout.splitlines()
    return left
