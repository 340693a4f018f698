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

"""Tests of locks."""

import unittest
from unittest import mock

from cinder_vmthunder import locks
from tests.unit.cinder_vmthunder import fakes


class LocksTestCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.locks = fakes.Locks()
        patcher = mock.patch('cinder.coordination.COORDINATOR', self.locks)
        patcher.start()
        self.addCleanup(patcher.stop)


class TemplateLockTest(LocksTestCase):

    def test_held_until_the_end(self):
        with locks.template_lock('aabb') as held:
            self.assertTrue(held)
            with locks.template_lock('aabb', wait=False) as again:
                self.assertFalse(again)
        with locks.template_lock('aabb', wait=False) as again:
            self.assertTrue(again)

    def test_released_after_an_error(self):
        with self.assertRaises(ValueError):
            with locks.template_lock('aabb'):
                raise ValueError
        with locks.template_lock('aabb', wait=False) as held:
            self.assertTrue(held)

    def test_as_many_locks_as_two_digits(self):
        for name in ('aabb', 'aacc', 'bbcc'):
            with locks.template_lock(name):
                pass
        self.assertEqual(2, len(self.locks._locks))


class ViewLockTest(LocksTestCase):

    def test_held_until_the_end(self):
        with locks.view_lock('view-1') as held:
            self.assertTrue(held)
            with locks.view_lock('view-1', wait=False) as again:
                self.assertFalse(again)
            self.assertEqual(1, len(self.locks._locks))
        self.assertEqual({}, self.locks._locks)

    def test_nothing_is_left_after_an_error(self):
        with self.assertRaises(ValueError), locks.view_lock('view-1'):
            raise ValueError
        self.assertEqual({}, self.locks._locks)
