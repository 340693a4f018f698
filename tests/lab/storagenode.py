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

"""What makes a storage node of a lab host, run in the host's worker."""

from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
import subprocess


def install(files: Mapping[str, str], directories: Sequence[str],
            groups: Mapping[str, str]) -> None:
    """Write configuration and make volume groups; twice does no harm.

    :param files: text by absolute path.
    :param directories: made if missing.
    :param groups: disk by the volume group that is to be on it. Each gets
        the thin pool that Cinder's LVM driver would make, only sooner.
    """
    for directory in directories:
        pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = pathlib.Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    there = subprocess.run(
        ['vgs', '--noheadings', '-o', 'vg_name'], check=True, text=True,
        stdout=subprocess.PIPE).stdout.split()
    for group, disk in groups.items():
        if group not in there:
            subprocess.run(['vgcreate', '-qq', group, disk], check=True)
            subprocess.run(['lvcreate', '-qq', '-l', '95%FREE', '-T',
                            '%s/%s-pool' % (group, group)], check=True)
