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

"""Storms: many hosts boot from one image at the same moment.

    python -m tests.bench storm [--hosts N,...] [--json FILE] [--plots DIR]

Each lab host replays, on a volume of its own, what a virtual machine was
seen to read and write while it booted, and checks every byte. They do so on
volumes of VMThunder, and in the same run on what a user would have instead:
plain iSCSI volumes of Cinder's LVM driver, each a copy of the image or a
clone of the image-volume cache's, and a copy of the whole image on each
host's own disk. All links are limited, see :class:`.outcome.Scale`: two
processors can't be as fast as so many hosts.
"""
