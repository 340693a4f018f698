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

"""Tests of templates."""

import collections
import contextlib
import threading
import unittest
from unittest import mock

from cinder import exception as cinder_exception
import ddt

from cinder_vmthunder import diffs
from cinder_vmthunder import exception
from cinder_vmthunder import images
from cinder_vmthunder import locks
from cinder_vmthunder import targets
from cinder_vmthunder import templates
from cinder_vmthunder import volumegroup
from tests.unit.cinder_vmthunder import fakes
from tests.unit.cinder_vmthunder import test_images

MIB = 1 << 20
RETENTION = 1000


class TemplatesTestCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.lvm, self.lio = stack.enter_context(fakes.world())
        self.blockdev = stack.enter_context(
            mock.patch.object(templates, 'blockdev'))
        self.time = stack.enter_context(
            mock.patch('time.time', return_value=5000))
        stack.enter_context(mock.patch('time.sleep'))
        self.must_verify = stack.enter_context(mock.patch.object(
            images, 'must_verify', return_value=False))
        self.data_size = stack.enter_context(mock.patch.object(
            images, 'data_size', return_value=100 * MIB))
        self.write = stack.enter_context(mock.patch.object(images, 'write'))
        self.fetched = images.Fetched('/tmp/image', 'qcow2', 1000 * MIB - 7,
                                      None)
        self.fetches = 0
        stack.enter_context(mock.patch.object(images.Image, 'fetch',
                                              self.fetch))
        self.group = volumegroup.VolumeGroup('vg', self.lvm)
        self.target = targets.TemplateTarget(fakes.backend())
        self.templates = self.make(RETENTION)

    def make(self, retention):
        return templates.Templates(self.group, self.target, retention)

    @contextlib.contextmanager
    def fetch(self):
        self.fetches += 1
        yield self.fetched

    def hold(self, **meta):
        with self.templates.hold(test_images.image(**meta)) as template:
            return template

    def add_diff(self, template, name='volume-1'):
        diff = diffs.Diff(name, template.id, template.size, 16, 1 << 30)
        diffs.Diffs(self.group).create(diff)
        return diff

    def collect(self, now=None):
        if now is not None:
            self.time.return_value = now
        self.templates.collect(self.group.volumes())

    def names(self):
        return sorted(self.lvm.volumes)


@ddt.ddt
class HoldTest(TemplatesTestCase):

    def test_import(self):
        template = self.hold()
        self.assertEqual(1000 * MIB, template.size)
        self.assertTrue(template.ready and template.read_only)
        self.assertFalse(template.verified)
        self.assertEqual('image-1', template.image_id)
        self.assertEqual([template.name], self.names())
        device = f'/dev/vg/{template.name}'
        self.write.assert_called_once_with(self.fetched, device)
        self.blockdev.flush.assert_called_once_with(device)

    def test_ready_comes_last(self):
        def write(fetched, device):
            (name,) = self.lvm.volumes
            self.assertIn('state=importing', self.lvm.tags(name))
            self.assertEqual('w', self.lvm.volumes[name][1])

        def flush(device):
            (name,) = self.lvm.volumes
            self.assertIn('state=importing', self.lvm.tags(name))
            self.write.assert_called_once()

        self.write.side_effect = write
        self.blockdev.flush.side_effect = flush
        self.hold()
        self.blockdev.flush.assert_called_once()

    def test_imported_once(self):
        first = self.hold()
        self.assertEqual(first, self.hold())
        self.assertEqual(1, self.fetches)

    def test_who_asks_at_once_waits(self):
        found = []
        threads = [threading.Thread(target=lambda: found.append(self.hold()))
                   for _each in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([found[0]] * 5, found)
        self.assertEqual(1, self.fetches)

    @ddt.data({'id': 'image-2'}, {'os_hash_value': 'other'})
    def test_other_images_have_other_templates(self, meta):
        self.assertNotEqual(self.hold().id, self.hold(**meta).id)

    def test_other_groups_have_other_templates(self):
        image = test_images.image()
        self.assertNotEqual(templates.id_of('one', image),
                            templates.id_of('other', image))

    def test_failed_import_leaves_nothing(self):
        self.write.side_effect = OSError('broken')
        self.assertRaises(OSError, self.hold)
        self.assertEqual([], self.names())

    def test_cut_import_is_done_again(self):
        self.write.side_effect = SystemExit
        self.assertRaises(SystemExit, self.hold)
        (name,) = self.names()
        self.assertIn('state=importing', self.lvm.tags(name))
        self.write.side_effect = None
        self.assertTrue(self.hold().ready)
        self.assertEqual([name], self.names())
        self.assertEqual(2, self.fetches)

    def test_cut_import_that_is_still_written_to(self):
        self.write.side_effect = SystemExit
        self.assertRaises(SystemExit, self.hold)
        self.write.side_effect = None
        self.lvm.fail['lvremove'] = 'in use'
        self.assertRaises(exception.VolumeGroupFailed, self.hold)
        self.assertEqual(6, self.lvm.count('lvremove'))

    def test_cut_before_write_protection_is_not_trusted(self):
        template = self.hold()
        self.lvm.volumes[template.name][1] = 'w'
        self.hold()
        self.assertEqual('r', self.lvm.volumes[template.name][1])

    def test_image_larger_than_volume(self):
        self.fetched = images.Fetched('/tmp/image', 'raw', 3 << 30, None)
        with self.templates.hold(images.Image(
                'context', test_images.META, None, 4, 's')):
            pass
        self.assertRaises(cinder_exception.ImageUnacceptable, self.hold)

    def test_use_is_noted(self):
        template = self.hold()
        self.collect()
        self.assertIn('unused=5000', self.lvm.tags(template.name))
        self.assertEqual(5000, templates.find(self.group.volumes())[0]
                         .unused_since)
        self.hold()
        self.assertNotIn('unused=5000', self.lvm.tags(template.name))

    def identify(self):
        """Have the kernel know LVs; return what changes when one is new."""
        identities = collections.defaultdict(lambda: 'LVM-1')
        patch = mock.patch.object(
            self.group, 'identity',
            lambda name: identities[name] if name in self.lvm.volumes
            else None)
        patch.start()
        self.addCleanup(patch.stop)
        return identities

    def test_known_template_takes_no_command(self):
        self.identify()
        first = self.hold()
        self.lvm.commands.clear()
        self.assertEqual(first, self.hold())
        self.assertEqual([], self.lvm.commands)

    def test_known_template_that_went(self):
        self.identify()
        template = self.hold()
        self.group.delete(template.name)
        self.assertEqual(template, self.hold())
        self.assertEqual(2, self.fetches)

    def test_known_template_that_another_process_made_again(self):
        identities = self.identify()
        template = self.hold()
        # and was killed over it
        self.group.tag(template.name, {'state': 'importing'},
                       {'state': 'ready'})
        identities[template.name] = 'LVM-2'
        self.assertTrue(self.hold().ready)
        self.assertEqual(2, self.fetches)

    def test_use_of_known_template_is_noted(self):
        self.identify()
        template = self.hold()
        self.collect()
        self.assertIn('unused=5000', self.lvm.tags(template.name))
        self.hold()
        self.assertNotIn('unused=5000', self.lvm.tags(template.name))

    def test_image_larger_than_volume_of_known_template(self):
        self.identify()
        self.fetched = images.Fetched('/tmp/image', 'raw', 3 << 30, None)
        with self.templates.hold(images.Image(
                'context', test_images.META, None, 4, 's')):
            pass
        self.assertRaises(cinder_exception.ImageUnacceptable, self.hold)

    def test_verified_at_import(self):
        self.must_verify.return_value = True
        self.fetched = images.Fetched('/tmp/image', 'raw', MIB, True)
        signed = {'properties': {'img_signature': 'x'}}
        self.assertTrue(self.hold(**signed).verified)
        self.assertTrue(self.hold(**signed).verified)
        self.assertEqual(1, self.fetches)

    def test_verified_when_asked_for_later(self):
        signed = {'properties': {'img_signature': 'x'}}
        self.assertFalse(self.hold(**signed).verified)
        self.must_verify.return_value = True
        self.fetched = images.Fetched('/tmp/image', 'raw', MIB, True)
        self.assertTrue(self.hold(**signed).verified)
        self.assertTrue(self.hold(**signed).verified)
        self.assertEqual(2, self.fetches)
        self.write.assert_called_once()

    def test_unsigned_is_not_fetched_again(self):
        self.must_verify.return_value = True
        self.hold()
        self.assertFalse(self.hold().verified)
        self.assertEqual(1, self.fetches)


class SpaceTest(TemplatesTestCase):

    def setUp(self):
        super().setUp()
        self.lvm.pool_size = 1000 * MIB
        self.old, self.used, self.new = [
            self.hold(id=name) for name in ('old', 'used', 'new')]
        for template in (self.old, self.used, self.new):
            self.lvm.used[template.name] = 300 * MIB
        self.add_diff(self.used)
        self.group.tag(self.old.name, {'unused': '100'})
        self.group.tag(self.new.name, {'unused': '200'})

    def test_oldest_goes_first(self):
        self.data_size.return_value = 350 * MIB
        self.hold()
        self.assertNotIn(self.old.name, self.names())
        self.assertIn(self.new.name, self.names())

    def test_as_many_as_needed(self):
        self.data_size.return_value = 650 * MIB
        self.hold()
        self.assertNotIn(self.new.name, self.names())
        self.assertIn(self.used.name, self.names())

    def test_none_if_there_is_room(self):
        self.data_size.return_value = 50 * MIB
        self.hold()
        self.assertIn(self.old.name, self.names())

    def test_not_enough(self):
        self.data_size.return_value = 750 * MIB
        with self.assertRaises(exception.NoSpaceForTemplate) as caught:
            self.hold()
        self.assertIn('750 MiB', caught.exception.msg)
        self.assertIn('700 MiB', caught.exception.msg)
        self.assertIn(self.used.name, self.names())


class CollectTest(TemplatesTestCase):

    def setUp(self):
        super().setUp()
        self.template = self.hold()

    def test_retention(self):
        self.collect()
        self.collect(5000 + RETENTION - 1)
        self.assertEqual([self.template.name], self.names())
        self.collect(5000 + RETENTION)
        self.assertEqual([], self.names())

    def test_used(self):
        self.collect()
        self.add_diff(self.template)
        self.collect(5000 + 2 * RETENTION)
        self.assertIn(self.template.name, self.names())
        self.assertNotIn('unused=5000', self.lvm.tags(self.template.name))

    def test_used_since_it_was_listed(self):
        self.collect()
        listed = self.group.volumes()
        self.add_diff(self.template)
        self.time.return_value = 5000 + 2 * RETENTION
        self.templates.collect(listed)
        self.assertIn(self.template.name, self.names())

    def test_locked(self):
        self.collect()
        with locks.template_lock(self.template.id):
            self.collect(5000 + RETENTION)
        self.assertEqual([self.template.name], self.names())

    def test_logged_in_to(self):
        self.collect()
        iqn = self.target.iqn(self.template.id)
        self.lio.logged_in_to[iqn] = ['iqn.1993-08.org.debian:a']
        self.collect(5000 + RETENTION)
        self.assertEqual([self.template.name], self.names())
        self.lio.logged_in_to.clear()
        self.collect()
        self.assertEqual([], self.names())

    def test_export_goes_too(self):
        self.target.create_export(self.template.id, '/dev/x', 'chap')
        self.collect()
        self.collect(5000 + RETENTION)
        self.assertEqual({}, self.lio.targets)

    def test_drop(self):
        templates.mark_for_drop(self.group, self.template.id)
        diff = self.add_diff(self.template)
        self.collect()
        self.assertIn(self.template.name, self.names())
        diffs.Diffs(self.group).delete(diff)
        self.collect()
        self.assertEqual([], self.names())

    def test_half_made(self):
        self.group.tag(self.template.name, {'state': 'importing'},
                       {'state': 'ready'})
        self.collect()
        self.assertEqual([], self.names())

    def test_failure_is_tried_again(self):
        self.collect()
        self.lvm.fail['lvremove'] = 'in use'
        self.collect(5000 + RETENTION)
        self.lvm.fail.clear()
        self.collect()
        self.assertEqual([], self.names())

    def test_collect_one_waits_for_retention(self):
        self.lvm.commands.clear()
        self.templates.collect_one(self.template.id)
        self.assertEqual([], self.lvm.commands)

    def test_collect_one_without_retention(self):
        other = self.hold(id='image-2')
        self.make(0).collect_one(self.template.id)
        self.assertEqual([other.name], self.names())

    def test_somebody_elses_lv(self):
        self.group.create('template-mine', fakes.EXTENT, {})
        self.assertEqual([self.template],
                         templates.find(self.group.volumes()))
