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

"""A storm: many hosts attach volumes of one image at once and read it."""

import collections
import concurrent.futures
import json
import os
import subprocess
import sys
import time
import typing

from os_brick_vmthunder import connection
from tests.functional import base
from tests.functional import compute
from tests.functional import controlplane_base
from tests.functional import storage
from tests.functional import storm
from tests.functional import volumes_base
from tests import lab
from tests.lab import brick
from tests.lab.controlplane import identity
from tests.lab.controlplane import settings
from tests.lab.controlplane import volumeservice

MIB = 1 << 20
HOSTS = tuple(lab.HostSpec(f'storm-{number}', 100 + number, memory=512)
              for number in range(1, 9))
IMAGE_SIZE = 128 * MIB
# Of each host's link and of the storage host's, both ways.
MBIT = 100
# Cinder's own, see vmthunder_root_fan_out and vmthunder_relay_fan_out.
ROOT_FAN_OUT = 2
RELAY_FAN_OUT = 2
# Of what is sent, beside the image's bytes: headers, logins, diffs.
MARGIN = 1.05
GROUP = 'cinder-vmthunder'
_TIMEOUT = 300


def places(service: volumeservice.CinderVolume) -> int:
    """Return how many hosts a cinder-volume has told whom to read from."""
    return service.log.read_text(errors='replace').count(' reads template ')


class StormTest(controlplane_base.ControlPlaneTestCase):
    """Eight compute hosts and an image, of which everything is read."""

    LIMIT = 2400
    hosts: typing.ClassVar[list[lab.Host]]

    @classmethod
    def setUpClass(cls) -> None:
        base.get_lab()
        base.together(super().setUpClass, cls.start_hosts)
        cinder = cls.cloud.volumes
        cinder.quotas.update(cinder.client.session.get_project_id(),
                             volumes=-1)

    @classmethod
    def start_hosts(cls) -> None:
        cls.hosts = base.together(*(
            lambda spec=spec: base.get_host(spec) for spec in HOSTS))
        cls.addClassCleanup(lambda: base.together(*(
            host.power_off for host in cls.hosts)))
        # Where eight kernels share two processors, a parent takes longer
        # until it serves than on hosts of their own: more than the default
        # of 20 s, after which a child would begin with the root.
        base.together(*(lambda host=host: host.call(
            compute.configure, relay_wait=180) for host in cls.hosts))
        base.together(*(lambda host=host: host.preload(*brick.MODULES)
                        for host in cls.hosts))

    def setUp(self) -> None:
        super().setUp()
        # of its own, which no host has in its cache
        self.image = volumes_base.upload(self.cloud, 'raw', IMAGE_SIZE)
        self.addCleanup(self.cloud.delete_image, self.image.id)
        self.volumes: list[str] = []
        self.storms: list[storm.Storm] = []

    def tearDown(self) -> None:
        """Detach and delete all, and see that nothing is left of it."""
        self.shape(None)
        # children before parents or after them, it is all the same
        detaching = [attachment for each in self.storms
                     for attachment in each.attached]
        if detaching:
            base.together(*(lambda attachment=attachment:
                            self.cloud.detach(attachment)
                            for attachment in detaching))
        for volume in self.volumes:
            self.cloud.delete_volume(volume, wait=False)
        self.wait_until(lambda: not self.left_on_storage(),
                        self.left_on_storage)
        for host in self.hosts:
            host.run(f'rm -f {brick.LOCKS}/'
                     'os-brick-connect_to_iscsi_portal-*', shell=True)
        self.wait_until(lambda: not any(self.swept()), self.swept)
        super().tearDown()

    def swept(self) -> list[list[str]]:
        """Do what the hosts' agents would; return what each has left.

        A parent that was detached before its children serves on, and so do
        these: the tree goes level by level.
        """
        base.together(*(lambda host=host: host.call(
            compute.sweep, timeout=_TIMEOUT) for host in self.hosts))
        return [host.call(compute.leftovers) for host in self.hosts]

    def left_on_storage(self) -> list[str]:
        return [left for group in (GROUP, 'cinder-lvm')
                for left in self.cloud.storage.call(storage.leftovers, group)
                if not left.endswith('/cinder-lioadm')]  # stock Cinder's

    def wait_until(self, wanted: typing.Callable[[], bool],
                   message: typing.Callable[[], object],
                   pause: float = 1) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while not wanted():
            self.assertLess(time.monotonic(), deadline, message())
            time.sleep(pause)

    def shape(self, mbit: float | None) -> None:
        """Limit the links of all hosts, each way."""
        for host in (self.cloud.storage, *self.hosts):
            host.network.shape(mbit)

    def create(self, count: int, kind: str = 'vmthunder') -> list[str]:
        """Make volumes of the image."""
        for _ in range(count):
            self.volumes.append(self.cloud.create_volume(
                1, self.image.id, kind, wait=False).id)
        made = self.volumes[-count:]
        for volume in made:
            self.cloud.wait_for_volume(volume)
        return made

    def prepare(self, hosts: typing.Sequence[lab.Host],
                volumes: typing.Sequence[str]) -> storm.Storm:
        made = storm.Storm(self.cloud, hosts, volumes, self.image.size)
        self.storms.append(made)
        return made

    def assertRight(self, result: storm.Result) -> None:
        for row in result.rows:
            self.assertEqual(self.image.digest, row.checksum, row.host)

    def assertRelayed(self, result: storm.Result) -> None:
        """Check that nobody was sent more than the tree demands."""
        self.assertLessEqual(result.read_from_root,
                             (ROOT_FAN_OUT + 0.05) * self.image.size)
        self.assertLessEqual(result.egress,
                             ROOT_FAN_OUT * MARGIN * self.image.size)
        for row in result.rows:
            self.assertLessEqual(row.read_bytes, MARGIN * self.image.size,
                                 row.host)
            self.assertLessEqual(
                row.received, MARGIN * self.image.size + row.sent, row.host)

    def test_storm_beside_stock_lvm(self) -> None:
        relayed, plain = (self.create(len(self.hosts), kind)
                          for kind in ('vmthunder', 'lvm'))
        self.shape(MBIT)
        result = self.prepare(self.hosts, relayed).run('VMThunder')
        print(result, file=sys.stderr)
        self.check_tree(result)
        stock = self.prepare(self.hosts, plain).run('stock LVM')
        print(stock, file=sys.stderr)
        self.assertRight(result)
        self.assertRight(stock)
        self.assertRelayed(result)
        self.assertLess(result.egress, stock.egress / 2)

    def check_tree(self, result: storm.Result) -> None:
        """Check what an operator is shown of a storm."""
        text = self.vmthunder_tree(self.image.id)
        (tree,) = json.loads(self.vmthunder_tree('--json'))
        names = {row.host for row in result.rows}
        self.assertEqual(names, {host['name'] for host in tree['hosts']})
        self.assertEqual(
            {row.host: row.parents for row in result.rows},
            {host['name']: tuple(parent['name'] for parent in
                                 host['parents'])
             for host in tree['hosts']})
        for host in tree['hosts']:
            self.assertEqual('attached', host['state'])
            self.assertRegex(text, rf"(?m)^ *{host['name']} +attached ")
        for row in result.rows:
            told = connection.Connection.from_dict(
                row.attachment.connection_info['data'])
            for chap in told.template.chap, told.diff.chap:
                self.assertNotIn(chap.password, text + json.dumps(tree))
        self.check_bounds(tree)

    def check_bounds(self, tree: dict[str, typing.Any]) -> None:
        """Check a plan against the fan-outs."""
        firsts: dict[str | None, int] = collections.Counter()
        seconds: dict[str | None, int] = collections.Counter()
        for host in tree['hosts']:
            first, second = ([parent['id'] for parent in host['parents']]
                             + [None, None])[:2]
            firsts[first] += 1
            if second:
                seconds[second] += 1
        self.assertLessEqual(firsts.pop(None), ROOT_FAN_OUT)
        for children in (firsts, seconds):
            for parent, count in children.items():
                self.assertLessEqual(count, RELAY_FAN_OUT, parent)

    def vmthunder_tree(self, *arguments: str) -> str:
        """Run ``vmthunder tree`` as an operator, on the machine."""
        return subprocess.run(
            [settings.VENV / 'bin/vmthunder', 'tree', *arguments],
            env=settings.without_proxies(
                {**os.environ, **identity.cli_environment()}),
            capture_output=True, text=True, check=True).stdout

    def test_cinder_volume_killed_in_the_middle(self) -> None:
        hosts = self.hosts[:4]
        volumes = self.create(len(hosts))
        self.shape(MBIT)
        made = self.prepare(hosts, volumes)
        told = places(self.cloud.cinder_volume)
        storming = concurrent.futures.ThreadPoolExecutor().submit(
            made.run, 'killed')
        # one host has been told its place, others have not
        self.wait_until(lambda: places(self.cloud.cinder_volume) > told,
                        lambda: 'no host was told its place', 0.1)
        self.cloud.restart_cinder_volume()
        result = storming.result()
        print(result, f'{made.retries} attachments made again',
              sep='\n', file=sys.stderr)
        self.assertRight(result)
        self.assertLess(0, made.retries)
        (tree,) = json.loads(self.vmthunder_tree('--json'))
        self.assertEqual({host.name for host in hosts},
                         {host['name'] for host in tree['hosts']})
        self.check_bounds(tree)

    def test_two_cinder_volumes(self) -> None:
        volumes = self.create(len(self.hosts))
        self.shape(MBIT)
        another = self.cloud.another_cinder_volume()
        self.addCleanup(another.process.kill)
        services = self.cloud.cinder_volume, another
        before = [places(service) for service in services]
        result = self.prepare(self.hosts, volumes).run('two cinder-volumes')
        print(result, file=sys.stderr)
        self.assertRight(result)
        self.assertRelayed(result)
        for service, told in zip(services, before):
            self.assertGreater(places(service), told)
        (tree,) = json.loads(self.vmthunder_tree('--json'))
        self.assertEqual(len(self.hosts), len(tree['hosts']))
        self.check_bounds(tree)
