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

import copy
import dataclasses
import json
import unittest
import uuid

import ddt
import hypothesis
from hypothesis import strategies as st

from os_brick_vmthunder import connection
from os_brick_vmthunder import exception
from os_brick_vmthunder import profile

VOLUME = '11111111-2222-4333-8444-555555555555'
TEMPLATE = 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee'
GIB = 1 << 30


def make(**changes):
    """Return a valid connection."""
    path = connection.Path('192.0.2.1:3260', 'iqn.2010-10.org.x:y', 0)
    values = dict(
        volume_id=VOLUME, volume_size=2 * GIB,
        mode=connection.SnapshotMode.DM,
        template=connection.Template(TEMPLATE, GIB, (path,),
                                     connection.Chap('tu', 'tp')),
        diff=connection.Diff(VOLUME, (path,),
                             connection.Chap('du', 'dp'), 16))
    values.update(changes)
    return connection.Connection(**values)


def replaced(data, where, value):
    """Return a deep copy of data with the value at a dotted place."""
    data = copy.deepcopy(data)
    inner = data
    *way, last = where.split('.')
    for key in way:
        inner = inner[int(key) if key.isdigit() else key]
    if value is KeyError:
        del inner[last]
    else:
        inner[last] = value
    return data


@ddt.ddt
class ConnectionTest(unittest.TestCase):

    def test_survives_json(self):
        for mode in connection.SnapshotMode:
            made = make(mode=mode)
            data = json.loads(json.dumps(made.to_dict()))
            self.assertEqual(made, connection.Connection.from_dict(data))

    def test_relays_survive_json(self):
        template = connection.Template(
            TEMPLATE, GIB, (
                connection.Path('192.0.2.9:3260', 'iqn.2010-10.org.x:r', 0,
                                'compute-9'),
                connection.Path('192.0.2.1:3260', 'iqn.2010-10.org.x:y', 0)),
            connection.Chap('tu', 'tp'),
            connection.Export('iqn.2010-10.org.x:z', '192.0.2.7:3260'))
        data = json.loads(json.dumps(make(template=template).to_dict()))
        parsed = connection.Connection.from_dict(data).template
        self.assertEqual(template, parsed)
        self.assertEqual(template.paths[:1], parsed.parents)

    def test_first_release_names_no_relays(self):
        data = make().to_dict()
        del data['template']['export']
        del data['template']['paths'][0]['relay']
        self.assertEqual(make(), connection.Connection.from_dict(data))

    def test_profile_survives_json(self):
        known = profile.Profile.of(GIB, profile.MIB, [7, 8, 1000, 0])
        made = make(template=dataclasses.replace(make().template,
                                                 profile=known),
                    heard=('abc', 'def'))
        data = json.loads(json.dumps(made.to_dict()))
        self.assertEqual(made, connection.Connection.from_dict(data))

    def test_second_release_knows_no_profiles(self):
        data = make().to_dict()
        del data['heard'], data['template']['profile']
        self.assertEqual(make(), connection.Connection.from_dict(data))

    @ddt.data('v2 40 0+ffffffff', 'v2 40 400', 'v9', 7, ['v2 40 0'])
    def test_no_volume_is_refused_for_a_profile(self, text):
        data = replaced(make().to_dict(), 'template.profile', text)
        self.assertEqual(make(), connection.Connection.from_dict(data))

    @ddt.data('abc', 5, [7], {'a': 'b'})
    def test_malformed_heard_counts_as_nothing(self, heard):
        data = dict(make().to_dict(), heard=heard)
        self.assertEqual(make(), connection.Connection.from_dict(data))

    def test_what_others_add_is_ignored(self):
        data = dict(make().to_dict(), access_mode='rw', encrypted=False,
                    driver_volume_type='vmthunder', later='thing')
        data['template']['later'] = 1
        self.assertEqual(make(), connection.Connection.from_dict(data))

    def test_newer_minor_is_read(self):
        data = replaced(make().to_dict(), 'version', '1.9')
        self.assertEqual(make(), connection.Connection.from_dict(data))

    @ddt.data('2.0', '0.9', '10.0')
    def test_other_major_is_refused_with_remedy(self, version):
        data = replaced(make().to_dict(), 'version', version)
        with self.assertRaisesRegex(exception.InvalidConnection,
                                    rf'{VOLUME}.*{version}.*install'):
            connection.Connection.from_dict(data)

    @ddt.data(
        ('version', KeyError), ('version', None), ('version', '1'),
        ('volume_id', KeyError), ('volume_id', 'x'), ('volume_id', 7),
        ('volume_size', 0), ('volume_size', -512), ('volume_size', 513),
        ('volume_size', '512'), ('volume_size', True),
        ('volume_size', GIB // 2), ('snapshot_mode', 'qcow'),
        ('template', KeyError), ('template', 'x'), ('template.id', '../x'),
        ('template.size', 1.5), ('template.paths', []),
        ('template.paths', {'a': 1}), ('template.paths', ['x']),
        ('template.paths.0.portal', '192.0.2.1'),
        ('template.paths.0.portal', '192.0.2.1:0'),
        ('template.paths.0.portal', '192.0.2.1:99999'),
        ('template.paths.0.portal', '1.2.3.4 -x:3260'),
        ('template.paths.0.iqn', '--op'), ('template.paths.0.lun', -1),
        ('template.paths.0.lun', KeyError),
        ('template.paths.0.relay', ''), ('template.paths.0.relay', 5),
        ('template.export', 'x'), ('template.export', {}),
        ('template.export', {'iqn': 'iqn.2010-10.org.x:z', 'portal': 'x'}),
        ('template.auth_method', 'None'), ('diff.auth_username', ''),
        ('diff.auth_password', 'a\nnode.startup = automatic'),
        ('diff.chunk_sectors', 4), ('diff.chunk_sectors', 24),
        ('diff.chunk_sectors', 4096), ('diff.paths', KeyError))
    @ddt.unpack
    def test_malformed_is_refused_by_name(self, where, value):
        data = replaced(make().to_dict(), where, value)
        with self.assertRaises(exception.InvalidConnection) as caught:
            connection.Connection.from_dict(data)
        if where.split('.')[-1] not in ('volume_id', 'volume_size'):
            self.assertIn(where.split('.')[0].replace('snapshot_', ''),
                          str(caught.exception))

    @ddt.data(None, [], 'text', 5)
    def test_not_a_mapping_is_refused(self, data):
        self.assertRaises(exception.InvalidConnection,
                          connection.Connection.from_dict, data)

    @ddt.data('[2001:db8::1]:3260', 'storage.example.org:3260')
    def test_portals(self, portal):
        data = replaced(make().to_dict(), 'template.paths.0.portal', portal)
        parsed = connection.Connection.from_dict(data)
        self.assertEqual(portal, parsed.template.paths[0].portal)

    def test_passwords_are_not_shown(self):
        self.assertNotIn("'tp'", repr(make()))

    def test_wwid_is_lios(self):
        self.assertEqual('36001405aaaaaaaabbbb5ccc8dddeeeee',
                         make().template.wwid)
        self.assertEqual(connection.wwid(VOLUME), make().diff.wwid)

    @hypothesis.given(st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(['version', 'volume_id', 'template', 'diff',
                             'paths', 'id', 'size', 'lun']), inner)))
    def test_garbage_never_passes_nor_crashes(self, garbage):
        with self.assertRaises(exception.InvalidConnection):
            connection.Connection.from_dict(garbage)

    @hypothesis.given(st.uuids(), st.uuids())
    def test_different_luns_have_different_wwids(self, one, other):
        same = one.hex[:25] == other.hex[:25]
        self.assertEqual(same, connection.wwid(str(one)) ==
                         connection.wwid(str(uuid.UUID(other.hex))))
