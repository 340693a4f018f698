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

"""The story: one image, three volumes, two hosts, every VM on both.

A and B begin on the first compute host and C on the second; then they
change places. Both hosts work at the same time.
"""

import concurrent.futures
import pathlib
import time
from typing import Callable
from typing import Mapping
from typing import Sequence
from typing import TypeVar

from demo import meter
from demo import probe
from demo import progress as progress_module
from demo import results
from demo import vm
from tests import lab
from tests.lab import brick
from tests.lab.controlplane import attachments
from tests.lab.controlplane import plane as plane_module

T = TypeVar('T')

COMPUTE = (lab.HostSpec('compute-1', 31, memory=1024),
           lab.HostSpec('compute-2', 32, memory=1024))
VOLUMES = ('A', 'B', 'C')
FIRST = {'compute-1': ('A', 'B'), 'compute-2': ('C',)}
SECOND = {'compute-1': ('C',), 'compute-2': ('A', 'B')}
SIZE_GB = 1
VOLUME_TYPE = 'vmthunder'


class Scenario:
    """One run, in a lab that is open.

    :param plane: the control plane, not started yet
    """

    def __init__(self, cloud: lab.Lab, plane: plane_module.ControlPlane,
                 progress: progress_module.Progress) -> None:
        self._lab = cloud
        self._plane = plane
        self._progress = progress
        self._hosts: dict[str, lab.Host] = {}
        self._meters: dict[str, meter.Meter] = {}
        self._ids: dict[str, str] = {}

    def start_hosts(self) -> None:
        """Boot the compute hosts."""
        with self._progress.step('lab', 'compute hosts up'):
            for host in self._lab.start_many(COMPUTE):
                self._hosts[host.name] = host
                self._meters[host.name] = meter.Meter(host)
            together(*(lambda host=host: host.preload(*brick.MODULES)
                       for host in self._hosts.values()))

    def run(self, image: pathlib.Path) -> results.Outcome:
        """Play the story; the control plane and the hosts are up.

        :param image: a qcow2 file
        """
        with self._progress.step('glance', 'image uploaded (qcow2)'):
            image_id = self._plane.openstack(
                'image', 'create', '--disk-format', 'qcow2',
                '--container-format', 'bare', '--file', str(image),
                'debian')['id']
        created = together(*(lambda name=name: self._create(name, image_id)
                             for name in VOLUMES))
        stays = self._visits(FIRST) + self._visits(SECOND)
        leftovers = [f'{host.name}: {thing}' for host in self._hosts.values()
                     for thing in host.call(probe.leftovers)]
        together(*(lambda name=name: self._delete(name) for name in VOLUMES))
        return results.Outcome(dict(zip(VOLUMES, created)), tuple(stays),
                               tuple(leftovers))

    def _create(self, name: str, image_id: str) -> float:
        began = time.monotonic()
        with self._progress.step('cinder', f'volume {name} created'):
            volume = self._plane.openstack(
                'volume', 'create', '--image', image_id, '--size',
                str(SIZE_GB), '--type', VOLUME_TYPE, name)
            self._plane.wait_for_volume(volume['id'])
        self._ids[name] = volume['id']
        return time.monotonic() - began

    def _delete(self, name: str) -> None:
        with self._progress.step('cinder', f'volume {name} deleted'):
            self._plane.delete_volume(self._ids[name])

    def _visits(self, plan: Mapping[str, Sequence[str]]
                ) -> list[results.Stay]:
        """Have every host do its part of a plan, all at once."""
        parts = together(*(
            lambda name=name, volumes=volumes:
                self._visit(self._hosts[name], volumes)
            for name, volumes in plan.items()))
        return [stay for part in parts for stay in part]

    def _visit(self, host: lab.Host, volumes: Sequence[str]
               ) -> list[results.Stay]:
        """Attach volumes to a host, boot from one after the other, detach."""
        self._meters[host.name].begin_visit()
        attached = [self._attach(host, name) for name in volumes]
        stays = [self._boot(host, name, *result)
                 for name, result in zip(volumes, attached)]
        for name, (attachment, *_) in zip(volumes, attached):
            with self._progress.step(host.name, f'volume {name} detached'):
                self._plane.detach(attachment)
        return stays

    def _attach(self, host: lab.Host, name: str
                ) -> tuple[attachments.Attachment, float, results.Reading]:
        began = time.monotonic()
        with self._progress.step(host.name, f'volume {name} attached'):
            attachment = self._plane.attach(host, self._ids[name])
        seconds = time.monotonic() - began
        return attachment, seconds, self._lap(host, attachment)

    def _boot(self, host: lab.Host, name: str,
              attachment: attachments.Attachment, attach_seconds: float,
              attach_reading: results.Reading) -> results.Stay:
        with self._progress.step(host.name, f'VM {name} booted, wrote, off'):
            boot = vm.run(host, attachment.device_path,
                          results.vm_name(name, host.name))
        return results.Stay(name, host.name, attach_seconds, attach_reading,
                            boot, self._lap(host, attachment))

    def _lap(self, host: lab.Host, attachment: attachments.Attachment
             ) -> results.Reading:
        data = attachment.connection_info['data']
        return self._meters[host.name].lap(data['template']['id'])


def together(*functions: Callable[[], T]) -> list[T]:
    """Call functions at once and return what they return, in order.

    The first failure is raised at once; the others run on unattended.
    """
    pool = concurrent.futures.ThreadPoolExecutor(len(functions))
    futures = [pool.submit(function) for function in functions]
    pool.shutdown(wait=False)
    for future in concurrent.futures.as_completed(futures):
        future.result()
    return [future.result() for future in futures]
