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

"""Base of the functional tests that need Keystone, Glance and Cinder."""

from __future__ import annotations

import atexit
import typing

from tests.functional import base
from tests.lab.controlplane import plane

_plane: plane.ControlPlane | None = None


def get_control_plane() -> plane.ControlPlane:
    """The process's control plane, started when first asked for.

    :raises ControlPlaneError: it didn't come up.
    """
    global _plane
    if _plane is None:
        # The lab closes after it: what was registered last is called first.
        started = plane.ControlPlane(base.get_lab()).__enter__()
        atexit.register(started.stop)
        _plane = started
    return _plane


class ControlPlaneTestCase(base.FunctionalTestCase):
    """A test that uses the cloud as its administrator."""

    cloud: typing.ClassVar[plane.ControlPlane]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.cloud = get_control_plane()
