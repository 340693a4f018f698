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

"""A few of the tests that OpenStack has of Cinder; all by `make tempest`."""

import typing

import ddt

from tests.functional import controlplane_base
from tests.tempest import configuration
from tests.tempest import running
from tests.tempest import selection

NAMES = selection.short()


@ddt.ddt
class TempestTest(controlplane_base.ControlPlaneTestCase):
    """They all run in the class' preparations, some at the same time."""

    outcomes: typing.ClassVar[dict[str, str]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        image = configuration.upload_image(cls.cloud)
        cls.addClassCleanup(cls.cloud.delete_image, image)
        directory = cls.lab.state / 'log/tempest'
        environment = configuration.write(image, directory)
        cls.outcomes = running.run(NAMES, environment, directory)

    @ddt.data(*NAMES)
    def test(self, name: str) -> None:
        self.assertEqual('', self.outcomes.get(name, 'It did not run.'))

    def test_what_they_share(self) -> None:
        self.assertEqual({}, {name: problem
                              for name, problem in self.outcomes.items()
                              if problem and name not in NAMES})
