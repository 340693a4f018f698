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

"""Exporting by LIO, on a real kernel."""

import dataclasses
import pathlib
import subprocess

from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder import privileged
from os_brick_vmthunder.privileged import lio
from tests.functional import base
from tests.functional import initiator
from tests.functional import steps
from tests.functional import volumes
from tests import lab

STORAGE = lab.HostSpec('cinder', 71, memory=512, disks={'pv': 8 << 30},
                       extra_addresses=(72,), services=())
CLIENT = lab.HostSpec('initiator', 73, memory=256, services=('iscsid',))
PORTAL = f'{volumes.ADDRESSES[0]}:3260'
SECRET = connection.Chap('template', 'templatesecret')
DIFF = lio.Target(
    'iqn.2010-10.org.openstack:volume-1', '/dev/vg/lio-test',
    tuple((address, 3260) for address in volumes.ADDRESSES),
    '11111111-1111-4111-8111-111111111111', product='diff')
TEMPLATE = dataclasses.replace(
    DIFF, iqn='iqn.2010-10.org.openstack:template-1', product='template',
    unique_id='22222222-2222-4222-8222-222222222222', read_only=True,
    state=lio.NON_OPTIMIZED, public=SECRET)
CHAP = connection.Chap('volume', 'volumesecret1')


def _lio(name, *args, **keywords):
    """Call a function of lio.py, in the storage host."""
    privileged.default.set_client_mode(False)
    return getattr(lio, name)(*args, **keywords)


def _export_and_grant(target):
    _lio('export', target)
    if not target.public:
        lio.grant(target.iqn, 'iqn.1993-08.org.debian:x', CHAP)


def _unexport(target):
    _lio('unexport', target.iqn)


def _configuration_then_remove(target):
    """Return all that LIO knows of a target, which is gone afterwards."""
    root = pathlib.Path('/sys/kernel/config/target')
    found = {}
    for top in (root / 'iscsi' / target.iqn,
                *root.glob(f'core/iblock_*/{target.iqn}')):
        for path in top.rglob('*'):
            name = str(path.relative_to(top))
            if 'statistics' in name or '/pr/' in name:
                continue
            if path.is_symlink():  # has a random name
                found[str(path.relative_to(top).parent) + '@'] = (
                    path.resolve().name)
            elif path.is_file():
                try:
                    found[name] = path.read_text()
                except OSError:
                    continue  # can only be written
    _unexport(target)
    left = volumes.lio_objects()
    assert not left, left
    return found


def _set_up(disk):
    volumes.prepare(disk)
    if subprocess.run(['lvs', 'vg/lio-test'],
                      capture_output=True).returncode:
        subprocess.run(['lvcreate', '-qq', '-T', '-V', '16m', '-n',
                        'lio-test', 'vg/vg-pool'], check=True)


def _state(iqn):
    with open(f'/sys/kernel/config/target/iscsi/{iqn}/tpgt_1/lun/lun_0/'
              'alua_tg_pt_gp') as file:
        return file.read()


class LIOTestCase(base.FunctionalTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.storage = base.get_host(STORAGE)
        cls.storage.preload(*volumes.MODULES)
        cls.storage.call(_set_up, cls.storage.disk('pv'))
        cls.client = base.get_host(CLIENT)
        cls.initiator = cls.client.call(initiator.name)

    @classmethod
    def tearDownClass(cls):
        cls.storage.run('lvremove', '-qq', '-y', 'vg/lio-test')
        super().tearDownClass()

    def tearDown(self):
        for target in (DIFF, TEMPLATE):
            self.client.call(initiator.logout, target.iqn)
            self.lio('unexport', target.iqn)
        self.assertEqual([], self.storage.call(volumes.lio_objects))
        super().tearDown()

    def lio(self, name, *args, **keywords):
        return self.storage.call(_lio, name, *args, **keywords)

    def login(self, target, chap):
        return self.client.call(initiator.login, PORTAL, target.iqn,
                                chap.username, chap.password)

    def assertRefused(self, target, chap):
        self.assertRaises(PermissionError, self.login, target, chap)


class LIOTest(LIOTestCase):

    def test_template(self):
        self.lio('export', TEMPLATE)
        disk = self.login(TEMPLATE, SECRET)
        self.assertEqual(
            {'wwid': connection.wwid(TEMPLATE.unique_id), 'ro': '1',
             'vendor': 'VMTHUNDR', 'model': 'template'},
            self.client.call(initiator.inquiry, disk))
        self.assertFalse(self.client.call(initiator.writes, disk))
        self.assertTrue(self.client.call(initiator.reads, disk))
        self.assertEqual([self.initiator],
                         self.lio('sessions', TEMPLATE.iqn))
        state = self.storage.call(_state, TEMPLATE.iqn)
        self.assertIn('Active/NonOptimized', state)
        # again, as at every attach, with a session on it
        self.lio('export', TEMPLATE)
        self.assertTrue(self.client.call(initiator.reads, disk))

    def test_template_without_the_right_secret(self):
        self.lio('export', TEMPLATE)
        for chap in (connection.Chap('template', 'somethingelse'),
                     connection.Chap('other', SECRET.password),
                     connection.Chap('', '')):
            self.assertRefused(TEMPLATE, chap)

    def test_diff(self):
        self.lio('export', DIFF)
        self.assertRefused(DIFF, CHAP)
        self.assertEqual((), self.lio('grant', DIFF.iqn, self.initiator,
                                      CHAP, beside=()))
        self.assertRefused(DIFF, connection.Chap('volume', 'somethingelse'))
        disk = self.login(DIFF, CHAP)
        self.assertEqual(
            {'wwid': connection.wwid(DIFF.unique_id), 'ro': '0',
             'vendor': 'VMTHUNDR', 'model': 'diff'},
            self.client.call(initiator.inquiry, disk))
        self.assertTrue(self.client.call(initiator.writes, disk))
        # nothing of this disturbs who is logged in
        self.lio('export', DIFF)
        self.lio('grant', DIFF.iqn, self.initiator, CHAP, beside=())
        self.assertEqual((self.initiator,), self.lio(
            'grant', DIFF.iqn, 'iqn.1993-08.org.debian:x', CHAP,
            beside=()))
        self.assertFalse(self.lio('unexport', DIFF.iqn, True))
        self.assertTrue(self.client.call(initiator.writes, disk))

    def test_revoking_ends_the_session(self):
        self.lio('export', DIFF)
        self.lio('grant', DIFF.iqn, self.initiator, CHAP)
        disk = self.login(DIFF, CHAP)
        self.lio('revoke', DIFF.iqn, self.initiator)
        self.assertFalse(self.client.call(initiator.writes, disk))
        self.client.call(initiator.logout, DIFF.iqn)
        self.assertRefused(DIFF, CHAP)
        self.assertTrue(self.lio('unexport', DIFF.iqn, True))

    def test_plain_luns_keep_lios_own_strings(self):
        self.lio('export', dataclasses.replace(DIFF, product=None))
        self.lio('grant', DIFF.iqn, self.initiator, CHAP)
        found = self.client.call(initiator.inquiry, self.login(DIFF, CHAP))
        self.assertEqual('LIO-ORG', found['vendor'])

    def test_missing_device(self):
        with self.assertRaises(exception.TargetError) as caught:
            self.lio('export', dataclasses.replace(DIFF, device='/dev/no'))
        self.assertIn(DIFF.iqn, str(caught.exception))

    def test_killed_after_any_step(self):
        for target in (DIFF, TEMPLATE):
            self.kill_everywhere(_export_and_grant, target, 15)

    def test_removal_killed_after_any_step(self):
        self.kill_everywhere(_unexport, TEMPLATE, 5,
                             before=_export_and_grant)

    def kill_everywhere(self, function, target, least, before=None):
        self.storage.call(_export_and_grant, target)
        good = self.storage.call(_configuration_then_remove, target)
        self.assertIn('tpgt_1/enable', good)
        number = steps.first()
        while True:
            if before:
                self.storage.call(before, target)
            try:
                done = self.storage.call(steps.run, number, function, target)
                break
            except lab.CallKilled:
                number += steps.STRIDE
            # as good as if nothing had happened
            self.storage.call(_export_and_grant, target)
            self.assertEqual(good, self.storage.call(
                _configuration_then_remove, target))
        self.assertGreater(len(done), least, done)
        self.lio('unexport', target.iqn)
