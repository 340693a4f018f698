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
import subprocess

from tests.lab import serviceuser

CINDER = 'cinder'
STATE = serviceuser.home(CINDER)


def install(files: Mapping[str, str]) -> None:
    """Make Cinder's user and write configuration; twice does no harm.

    :param files: text by absolute path.
    """
    serviceuser.make(CINDER, files, ('locks', 'conversion', 'backup'))


def make_groups(groups: Mapping[str, str]) -> None:
    """Make volume groups; twice does no harm.

    :param groups: disk by the volume group that is to be on it. Each gets
        the thin pool that Cinder's LVM driver would make, only sooner.
    """
    there = subprocess.run(
        ['vgs', '--noheadings', '-o', 'vg_name'], check=True, text=True,
        stdout=subprocess.PIPE).stdout.split()
    for group, disk in groups.items():
        if group not in there:
            subprocess.run(['vgcreate', '-qq', group, disk], check=True)
            subprocess.run(['lvcreate', '-qq', '-l', '95%FREE', '-T',
                            '%s/%s-pool' % (group, group)], check=True)
