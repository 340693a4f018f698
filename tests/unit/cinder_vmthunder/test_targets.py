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

"""Tests of targets."""

import contextlib
import unittest

from os_brick_vmthunder import connection

from cinder_vmthunder import exception
from cinder_vmthunder import targets
from tests.unit.cinder_vmthunder import fakes

IQN = f'{fakes.PREFIX}volume-{fakes.VOLUME}'
TEMPLATE = 'cccccccc-0000-4000-8000-00000000000c'
CHAP = connection.Chap('user', 'password')
A, B = fakes.connector('a'), fakes.connector('b')


class TargetsTestCase(unittest.TestCase):
    kind: type = targets.LIOTarget

    def setUp(self):
        super().setUp()
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        _lvm, self.lio = stack.enter_context(fakes.world())
        self.target = self.kind(configuration=fakes.backend())
        self.db = self.target.db = fakes.Database()
        self.volume = fakes.Volume()

    def export(self):
        export = self.target.create_export(None, self.volume, '/dev/vg/v')
        self.volume.provider_location = export['location']
        self.volume.provider_auth = export['auth']
        self.db.volumes[self.volume.id] = {'provider_auth': export['auth']}
        return export


class LIOTargetTest(TargetsTestCase):

    def test_create_export(self):
        export = self.export()
        self.assertEqual(
            f'10.0.0.1:3260;[fd00::1]:3260,{IQN} {IQN} 0',
            export['location'])
        self.assertEqual('CHAP', export['auth'].split()[0])
        made = self.lio.targets[IQN]
        self.assertEqual(
            self.lio.Target(IQN, '/dev/vg/v',
                            (('10.0.0.1', 3260), ('fd00::1', 3260)),
                            fakes.VOLUME), made)

    def test_credentials_stay(self):
        self.assertEqual(self.export(), self.export())

    def test_iser(self):
        self.target.iscsi_protocol = 'iser'
        self.export()
        self.assertTrue(self.lio.targets[IQN].iser)

    def test_initialize_connection(self):
        self.export()
        info = self.target.initialize_connection(self.volume, A)
        self.assertEqual('iscsi', info['driver_volume_type'])
        self.assertEqual(IQN, info['data']['target_iqn'])
        self.assertEqual(['10.0.0.1:3260', '[fd00::1]:3260'],
                         info['data']['target_portals'])
        self.target.initialize_connection(self.volume, B)
        self.assertEqual(
            {each['initiator']: targets.chap_of(self.volume)
             for each in (A, B)}, self.lio.acls[IQN])

    def test_terminate_connection(self):
        self.export()
        for connector in (A, B):
            self.target.initialize_connection(self.volume, connector)
        self.target.terminate_connection(self.volume, A)
        self.assertEqual([B['initiator']], list(self.lio.acls[IQN]))
        self.target.terminate_connection(self.volume, None, force=True)
        self.assertEqual({}, self.lio.acls[IQN])

    def test_remove_export(self):
        self.export()
        self.target.remove_export(None, self.volume)
        self.assertEqual({}, self.lio.targets)
        self.target.remove_export(None, self.volume)

    def test_ensure_export_makes_acls(self):
        self.export()
        secret = targets.chap_of(self.volume)
        self.lio.__init__()
        self.volume.attach(A, None, B)
        self.target.ensure_export(None, self.volume, '/dev/vg/v')
        self.assertEqual({A['initiator']: secret, B['initiator']: secret},
                         self.lio.acls[IQN])

    def test_ensure_export_of_what_never_was(self):
        self.target.ensure_export(None, self.volume, '/dev/vg/v')
        self.assertEqual({}, self.lio.targets)

    def test_failures_are_cinders(self):
        self.export()
        for action, call in (
                ('export', self.export),
                ('grant', lambda: self.target.initialize_connection(
                    self.volume, A)),
                ('revoke', lambda: self.target.terminate_connection(
                    self.volume, A)),
                ('remove', lambda: self.target.remove_export(
                    None, self.volume))):
            self.lio.refuse = {action}
            with self.assertRaises(exception.TargetFailed) as caught:
                call()
            self.assertIn(fakes.VOLUME, caught.exception.msg)

    def test_needless_parts_of_the_interface(self):
        self.assertEqual(0, self.target._get_iscsi_target(None, 'x'))
        self.assertIsNone(self.target._get_target(IQN))


class AssemblyTargetTest(TargetsTestCase):
    kind = targets.AssemblyTarget

    def test_looks_like_any_volume_but_has_a_wwid_of_its_own(self):
        self.export()
        made = self.lio.targets[IQN]
        self.assertIsNone(made.product)
        self.assertNotEqual(fakes.VOLUME, made.unique_id)
        self.export()
        self.assertEqual(made.unique_id, self.lio.targets[IQN].unique_id)


class DiffTargetTest(TargetsTestCase):
    kind = targets.DiffTarget

    def test_host_that_was_detached_meanwhile_is_not_let_in(self):
        self.target.admit(self.volume, B, self.export_and_get_chap())
        self.assertRaises(exception.AttachedElsewhere,
                          self.target.initialize_connection, self.volume, A)
        self.assertEqual([B['initiator']], list(self.lio.acls[IQN]))

    def test_refuse_if_admitted(self):
        self.target.refuse_if_admitted(self.volume)
        self.target.admit(self.volume, A, self.export_and_get_chap())
        with self.assertRaises(exception.AttachedElsewhere) as caught:
            self.target.refuse_if_admitted(self.volume)
        self.assertIn(A['initiator'], caught.exception.msg)

    def export_and_get_chap(self):
        self.export()
        return targets.chap_of(self.volume)

    def test_lun_is_marked(self):
        self.export()
        self.assertEqual('diff', self.lio.targets[IQN].product)
        self.assertEqual(fakes.VOLUME, self.lio.targets[IQN].unique_id)

    def test_each_export_has_its_own_secret(self):
        first = self.export()
        self.assertEqual(first, self.export())
        self.target.remove(self.volume)
        self.assertNotEqual(first['auth'], self.export()['auth'])

    def test_one_host_at_a_time(self):
        self.export()
        self.target.admit(self.volume, A, CHAP)
        self.target.admit(self.volume, A, CHAP)
        self.volume.attach(A)
        with self.assertRaises(exception.AttachedElsewhere) as caught:
            self.target.admit(self.volume, B, CHAP)
        self.assertIn(f"host a ({A['initiator']})", caught.exception.msg)
        self.assertEqual([A['initiator']], list(self.lio.acls[IQN]))

    def test_host_that_cinder_does_not_know(self):
        self.export()
        self.target.admit(self.volume, A, CHAP)
        with self.assertRaises(exception.AttachedElsewhere) as caught:
            self.target.admit(self.volume, B, CHAP)
        self.assertIn(A['initiator'], caught.exception.msg)

    def test_remove(self):
        self.export()
        self.target.admit(self.volume, A, CHAP)
        self.assertFalse(self.target.remove_unless_admitted(self.volume))
        self.assertTrue(self.target.exported([self.volume.name, 'x']))
        self.target.terminate_connection(self.volume, A)
        self.assertTrue(self.target.remove_unless_admitted(self.volume))
        self.assertFalse(self.target.exported([self.volume.name, 'x']))
        self.export()
        self.target.admit(self.volume, A, CHAP)
        self.target.remove(self.volume)
        self.assertEqual({}, self.lio.targets)

    def test_paths(self):
        self.export()
        self.assertEqual(
            (connection.Path('10.0.0.1:3260', IQN, 0),
             connection.Path('[fd00::1]:3260', IQN, 0)),
            targets.paths_of(self.volume))


class TemplateTargetTest(unittest.TestCase):

    def test_export(self):
        iqn = f'{fakes.PREFIX}template-{TEMPLATE}'
        with fakes.world() as (_lvm, lio):
            target = targets.TemplateTarget(fakes.backend())
            target.create_export(TEMPLATE, '/dev/vg/t', CHAP)
            made = lio.targets[iqn]
            self.assertEqual(
                (TEMPLATE, 'template', True, lio.NON_OPTIMIZED, CHAP),
                (made.unique_id, made.product, made.read_only, made.state,
                 made.public))
            self.assertEqual(
                (connection.Path('10.0.0.1:3260', iqn, 0),
                 connection.Path('[fd00::1]:3260', iqn, 0)),
                target.paths(TEMPLATE))
            self.assertEqual([], target.sessions(TEMPLATE))
            target.remove_export(TEMPLATE)
            self.assertEqual({}, lio.targets)

    def test_part_of_an_export(self):
        with fakes.world() as (_lvm, lio):
            target = targets.TemplateTarget(fakes.backend())
            self.assertFalse(target.is_built(TEMPLATE))
            target.create_export(TEMPLATE, '/dev/vg/t', CHAP)
            lio.targets.clear()
            self.assertTrue(target.is_built(TEMPLATE))
