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

"""Tests of exporting over LIO, on a fake of rtslib."""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import shutil
import sys
import tempfile
import unittest
from unittest import mock

import ddt
from oslo_concurrency import processutils

from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder import privileged
from os_brick_vmthunder.privileged import lio
from tests.unit.os_brick_vmthunder.privileged import fake_rtslib

CHAP = connection.Chap('user', 'password')
OTHER = connection.Chap('user', 'changed')
A, B = 'iqn.1993-08.org.debian:a', 'iqn.1993-08.org.debian:b'
PLAIN = lio.Target(
    'iqn.2010-10.org.openstack:volume-1', '/dev/vg/volume-1',
    (('10.0.0.1', 3260),), '11111111-1111-4111-8111-111111111111')
DIFF = dataclasses.replace(PLAIN, product='diff')
TEMPLATE = lio.Target(
    'iqn.2010-10.org.openstack:template-1', '/dev/vg/template-1',
    (('10.0.0.1', 3260), ('fd00::1', 3260)),
    '22222222-2222-4222-8222-222222222222', product='template',
    read_only=True, state=lio.NON_OPTIMIZED, public=CHAP)


@ddt.ddt
class LIOTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.root = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory()))
        fake_rtslib.root = self.root / 'target'
        (fake_rtslib.root / 'core').mkdir(parents=True)
        fake_rtslib.created.clear()
        stack.enter_context(mock.patch.dict(
            sys.modules, rtslib_fb=fake_rtslib))
        stack.enter_context(mock.patch.multiple(
            lio, _CONFIGFS=str(fake_rtslib.root),
            _DATABASE=str(self.root / 'database')))
        stack.enter_context(mock.patch.object(
            privileged.default, 'client_mode', False))

    def group(self, target):
        return fake_rtslib.root / 'iscsi' / target.iqn / 'tpgt_1'

    def store(self, target):
        return fake_rtslib.root / 'core' / target.iqn

    def read(self, path, name):
        return (path / f'={name}').read_text()

    def assertLinked(self, path, source):
        links = [each for each in path.iterdir() if each.is_symlink()]
        self.assertEqual([source.resolve()],
                         [each.resolve() for each in links])

    def test_plain(self):
        lio.export(PLAIN)
        group = self.group(PLAIN)
        self.assertLinked(group / 'lun/lun_0', self.store(PLAIN))
        self.assertEqual('1', self.read(group, 'authentication'))
        self.assertFalse((group / '=generate_node_acls').exists())
        self.assertEqual('True', self.read(group, 'enable'))
        self.assertEqual(['10.0.0.1:3260'],
                         [each.name for each in (group / 'np').iterdir()])
        wwn = self.store(PLAIN) / 'wwn'
        self.assertEqual('IBLOCK', (wwn / 'product_id').read_text())

    def test_ours_is_marked(self):
        lio.export(DIFF)
        wwn = self.store(DIFF) / 'wwn'
        self.assertEqual('VMTHUNDR', (wwn / 'vendor_id').read_text())
        self.assertEqual('diff', (wwn / 'product_id').read_text())
        self.assertEqual(DIFF.unique_id, self.read(self.store(DIFF), 'wwn'))

    def test_public(self):
        lio.export(TEMPLATE)
        group = self.group(TEMPLATE)
        for name in ('authentication', 'generate_node_acls',
                     'cache_dynamic_acls', 'demo_mode_write_protect'):
            self.assertEqual('1', self.read(group, name))
        self.assertEqual('user', self.read(group, 'chap_userid'))
        self.assertEqual('password', self.read(group, 'chap_password'))
        self.assertEqual('1', (self.store(TEMPLATE) / 'readonly').read_text())
        self.assertEqual('vmthunder', self.read(
            group / 'lun/lun_0', 'alua_tg_pt_gp_name'))
        alua = self.store(TEMPLATE) / 'alua/vmthunder'
        self.assertEqual('1', self.read(alua, 'alua_access_state'))
        self.assertEqual('2', (alua / 'tg_pt_gp_id').read_text())
        self.assertEqual(
            ['10.0.0.1:3260', '[fd00::1]:3260'],
            sorted(each.name for each in (group / 'np').iterdir()))

    def test_secret_that_the_kernel_does_not_take(self):
        with mock.patch.object(fake_rtslib.TPG, '__setattr__'):
            self.assertRaises(exception.TargetError, lio.export, TEMPLATE)

    def test_iser(self):
        lio.export(dataclasses.replace(PLAIN, iser=True))
        self.assertEqual('True', self.read(
            self.group(PLAIN) / 'np/10.0.0.1:3260', 'iser'))

    @ddt.data(PLAIN, DIFF, TEMPLATE)
    def test_again_changes_nothing(self, target):
        lio.export(target)
        fake_rtslib.created.clear()
        lio.export(target)
        self.assertEqual([], fake_rtslib.created)

    @ddt.data(
        {'device': '/dev/vg/other'}, {'read_only': True},
        {'unique_id': '33333333-3333-4333-8333-333333333333'},
        {'product': 'template'})
    def test_something_else_is_replaced(self, change):
        lio.export(dataclasses.replace(DIFF, **change))
        lio.export(DIFF)
        store = self.store(DIFF)
        self.assertEqual(DIFF.device, self.read(store, 'udev_path'))
        self.assertEqual(DIFF.unique_id, self.read(store, 'wwn'))
        self.assertEqual('diff', (store / 'wwn/product_id').read_text())
        self.assertEqual('0', (store / 'readonly').read_text())
        self.assertLinked(self.group(DIFF) / 'lun/lun_0', store)

    def test_plain_export_of_stock_cinder_keeps_its_wwid(self):
        wwn = '44444444-4444-4444-8444-444444444444'
        lio.export(dataclasses.replace(PLAIN, unique_id=wwn))
        lio.export(PLAIN)
        self.assertEqual(wwn, self.read(self.store(PLAIN), 'wwn'))

    def test_half_made_store(self):
        self.store(DIFF).mkdir(parents=True)
        lio.export(DIFF)
        self.assertTrue((self.store(DIFF) / 'enable').exists())

    def test_husk_of_a_store_is_swept(self):
        husk = fake_rtslib.root / 'core/iblock_0'
        husk.mkdir()
        lio.export(DIFF)
        self.assertFalse(husk.exists())

    def test_husk_of_a_store_goes_with_the_target(self):
        husk = fake_rtslib.root / 'core/iblock_0'
        used = fake_rtslib.root / 'core/iblock_1/other'
        husk.mkdir()
        used.mkdir(parents=True)
        lio.unexport(DIFF.iqn)
        self.assertFalse(husk.exists())
        self.assertTrue(used.exists())

    def test_half_made_lun(self):
        lun = self.group(DIFF) / 'lun/lun_0'
        lun.mkdir(parents=True)
        lio.export(DIFF)
        self.assertLinked(lun, self.store(DIFF))

    @ddt.data(*range(1, 8))
    def test_cut_anywhere_and_done_again(self, number):
        real = fake_rtslib.Node.__init__
        calls = []

        def dying(node, path, mode='any'):
            real(node, path, mode)
            calls.append(path)
            if len(fake_rtslib.created) == number:
                raise SystemExit

        with mock.patch.object(fake_rtslib.Node, '__init__', dying):
            self.assertRaises(SystemExit, lio.export, TEMPLATE)
        self.test_public()

    def test_grant(self):
        lio.export(DIFF)
        self.assertEqual((), lio.grant(DIFF.iqn, A.upper(), CHAP))
        acl = self.group(DIFF) / 'acls' / A
        self.assertEqual('user', self.read(acl, 'chap_userid'))
        self.assertEqual('password', self.read(acl, 'chap_password'))
        self.assertLinked(acl / 'lun_0', self.group(DIFF) / 'lun/lun_0')
        fake_rtslib.created.clear()
        self.assertEqual((), lio.grant(DIFF.iqn, A, OTHER))
        self.assertEqual([], fake_rtslib.created)
        self.assertEqual('changed', self.read(acl, 'chap_password'))
        self.assertEqual([A], lio.initiators(DIFF.iqn))

    def test_grant_to_one(self):
        lio.export(DIFF)
        self.assertEqual((), lio.grant(DIFF.iqn, A, CHAP, beside=()))
        self.assertEqual((A,), lio.grant(DIFF.iqn, B, CHAP, beside=()))
        self.assertEqual((), lio.grant(DIFF.iqn, A, CHAP, beside=()))
        self.assertEqual([A], lio.initiators(DIFF.iqn))

    def test_half_made_grant(self):
        lio.export(DIFF)
        lun = self.group(DIFF) / 'acls' / A / 'lun_0'
        lun.mkdir(parents=True)
        lio.grant(DIFF.iqn, A, CHAP)
        self.assertLinked(lun, self.group(DIFF) / 'lun/lun_0')

    def test_grant_on_nothing(self):
        with self.assertRaises(exception.TargetError) as caught:
            lio.grant(DIFF.iqn, A, CHAP)
        self.assertIn(DIFF.iqn, str(caught.exception))
        self.assertNotIn('password', str(caught.exception))

    def test_revoke(self):
        lio.export(DIFF)
        for name in (A, B):
            lio.grant(DIFF.iqn, name, CHAP)
        lio.revoke(DIFF.iqn, A.upper())
        self.assertEqual([B], lio.initiators(DIFF.iqn))
        lio.grant(DIFF.iqn, A, CHAP)
        lio.revoke(DIFF.iqn, None)
        self.assertEqual([], lio.initiators(DIFF.iqn))

    def test_nothing_there(self):
        lio.revoke(DIFF.iqn, None)
        self.assertEqual([], lio.initiators(DIFF.iqn))
        self.assertEqual([], lio.exported([DIFF.iqn]))
        self.assertEqual([], lio.sessions(DIFF.iqn))
        self.assertTrue(lio.unexport(DIFF.iqn))

    def test_unexport(self):
        lio.export(DIFF)
        lio.export(TEMPLATE)
        self.assertEqual([DIFF.iqn], lio.exported(['x', DIFF.iqn]))
        lio.grant(DIFF.iqn, A, CHAP)
        self.assertFalse(lio.unexport(DIFF.iqn, unless_granted=True))
        self.assertEqual([DIFF.iqn], lio.exported([DIFF.iqn]))
        self.assertTrue(lio.unexport(DIFF.iqn))
        self.assertFalse(self.store(DIFF).exists())
        self.assertEqual([TEMPLATE.iqn],
                         lio.exported([DIFF.iqn, TEMPLATE.iqn]))

    def test_unexport_of_a_target_without_group(self):
        self.group(DIFF).parent.mkdir(parents=True)
        lio.unexport(DIFF.iqn)
        self.assertEqual([], lio.exported([DIFF.iqn]))

    def test_sessions(self):
        lio.export(TEMPLATE)
        (self.group(TEMPLATE) / 'dynamic_sessions').write_text(
            f'{A}\0\n{B}\0\n')
        self.assertEqual([A, B], lio.sessions(TEMPLATE.iqn))

    def test_serves(self):
        def asked(device='/dev/x', portal='10.0.0.1:3260'):
            return lio.serves('iqn.x:y', device, [portal])

        target = fake_rtslib.root
        group = target / 'iscsi/iqn.x:y/tpgt_1'
        store = target / 'core/iblock_3/iqn.x:y'
        for path in group / 'np/10.0.0.1:3260', store:
            path.mkdir(parents=True)
        self.assertFalse(asked())
        (group / 'enable').write_text('0\n')
        (store / 'udev_path').write_text('/dev/x\n')
        self.assertFalse(asked())
        (group / 'enable').write_text('1\n')
        self.assertTrue(asked())
        self.assertFalse(asked(device='/dev/z'))
        self.assertFalse(asked(portal='10.0.0.1:3261'))

    def test_names(self):
        self.assertEqual([], lio.names('template-1'))
        lio.export(TEMPLATE)
        lio.export(DIFF)
        self.assertEqual([TEMPLATE.iqn], lio.names('template-1'))
        self.assertEqual([], lio.names('template-1:'))

    def test_numbers_of_backstores_are_read_anew(self):
        fake_rtslib.tcm.bs_cache['iblock/other'] = 0
        lio.export(DIFF)
        self.assertEqual({}, fake_rtslib.tcm.bs_cache)

    def test_module_is_loaded(self):
        shutil.rmtree(fake_rtslib.root)
        with mock.patch.object(
                processutils, 'execute',
                side_effect=lambda *command: (
                    fake_rtslib.root / 'core').mkdir(parents=True)
                ) as execute:
            lio.export(DIFF)
        execute.assert_called_once_with('modprobe', 'target_core_mod')

    def test_no_module(self):
        shutil.rmtree(fake_rtslib.root)
        error = processutils.ProcessExecutionError(stderr='no such module')
        with mock.patch.object(processutils, 'execute', side_effect=error):
            with self.assertRaises(exception.TargetError) as caught:
                lio.export(DIFF)
        self.assertIn('target_core_mod', str(caught.exception))

    def test_only_one_at_a_time(self):
        depth = []
        export = fake_rtslib.BlockStorageObject.__init__

        def counting(*args, **keywords):
            handle = os.open(fake_rtslib.root, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                depth.append('held')
            finally:
                os.close(handle)
            export(*args, **keywords)

        with mock.patch.object(fake_rtslib.BlockStorageObject, '__init__',
                               counting):
            lio.export(DIFF)
        self.assertEqual({'held'}, set(depth))
