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

"""A volume group, a LIO and locks that exist only in memory."""

import contextlib
import json
import re
import threading
import types
from unittest import mock

from cinder import objects
from cinder.volume import configuration
from oslo_concurrency import processutils
from oslo_config import cfg

from cinder_vmthunder import stores
from os_brick_vmthunder import devicemapper as dm
from os_brick_vmthunder import exception as brick_exception
from os_brick_vmthunder.privileged import blockdev as _  # noqa: F401

objects.register_all()

GROUP = 'vg'
EXTENT = 4 << 20
PREFIX = 'iqn.2010-10.org.openstack:'
VOLUME = 'aaaaaaaa-0000-4000-8000-00000000000a'
OTHER = 'bbbbbbbb-0000-4000-8000-00000000000b'


class LVM:
    """What the LVM commands do, as VolumeGroup's ``execute``."""

    def __init__(self):
        self.pool_size = 10 << 30
        self.pool_attributes = 'twi-aotz--'
        self.extent = EXTENT
        self.used = {}  # bytes by name
        self.volumes = {}  # [size, permission, tags] by name
        self.commands = []
        self.fail = {}  # stderr by command

    def __call__(self, *command):
        command = [word for word in command
                   if word != 'env' and not word.startswith('LC_ALL=')]
        self.commands.append(command)
        if command[0] in self.fail:
            raise processutils.ProcessExecutionError(
                exit_code=5, stderr=self.fail[command[0]])
        return getattr(self, command[0])(*command[1:]), ''

    def count(self, name):
        return sum(command[0] == name for command in self.commands)

    def tags(self, name):
        return {tag.removeprefix('vmthunder.')
                for tag in self.volumes[name][2]}

    def lvs(self, *words):
        name = words[-1].partition('/')[2]
        pool = f'{GROUP}-pool'
        if name and name != pool and name not in self.volumes:
            self._missing(name)
        used = sum(self.used.values()) / self.pool_size * 100
        lines = [] if name and name != pool else [
            (pool, self.pool_size, self.pool_attributes, '', used)]
        lines += [(each, size, f'V{permission}i-a-tz--', ','.join(tags),
                   self.used.get(each, 0) / size * 100)
                  for each, (size, permission, tags) in self.volumes.items()
                  if name in ('', each)]
        return ''.join(
            '  ' + '|'.join(map(str, [*line, 'vg-uuid', self.extent])) + '\n'
            for line in lines)

    def lvcreate(self, *words):
        words = list(words)
        name = words[words.index('-n') + 1]
        if name in self.volumes:
            raise processutils.ProcessExecutionError(
                stderr=f'Logical Volume "{name}" already exists')
        if '-s' in words:
            size = self._volume(words[-1])[0]
        else:
            size = self._size(words[words.index('-V') + 1])
        self.volumes[name] = [size, 'r' if '-pr' in words else 'w',
                              self._options(words, '--addtag')]
        return ''

    def lvextend(self, *words):
        volume = self._volume(words[-1])
        size = self._size(words[words.index('-L') + 1])
        if size <= volume[0]:
            raise processutils.ProcessExecutionError(
                exit_code=5, stderr='  New size given matches existing size')
        volume[0] = size
        return ''

    def lvrename(self, group, name, new_name):
        """The function of Cinder's privileged process."""
        assert group == GROUP
        self.commands.append(['lvrename', name, new_name])
        self.volumes[new_name] = self.volumes.pop(name)

    def lvchange(self, *words):
        volume = self._volume(words[-1])
        if '-pr' in words:
            volume[1] = 'r'
        removed = self._options(words, '--deltag')
        volume[2] = [tag for tag in volume[2] if tag not in removed]
        volume[2] += self._options(words, '--addtag')
        return ''

    def lvremove(self, *words):
        assert words[-1] == GROUP
        for name in re.findall(r'lv_name=(\S+)',
                               words[words.index('--select') + 1]):
            self.volumes.pop(name, None)
            self.used.pop(name, None)
        return ''

    def _volume(self, path):
        name = path.partition('/')[2]
        if name not in self.volumes:
            self._missing(name)
        return self.volumes[name]

    @staticmethod
    def _size(text):
        assert text.endswith('b') and int(text[:-1]) % 512 == 0
        return -(-int(text[:-1]) // EXTENT) * EXTENT

    @staticmethod
    def _missing(name):
        raise processutils.ProcessExecutionError(
            exit_code=5,
            stderr=f'  Failed to find logical volume "{GROUP}/{name}"')

    @staticmethod
    def _options(words, option):
        return [value for key, value in zip(words, words[1:])
                if key == option]


class LIO:
    """os_brick_vmthunder.privileged.lio, without a kernel."""

    OPTIMIZED, NON_OPTIMIZED = 0, 1

    def __init__(self):
        from os_brick_vmthunder.privileged import lio
        self.Target = lio.Target
        self.targets = {}
        self.stores = set()  # also of targets that are gone
        self.acls = {}
        self.logged_in_to = {}
        self.refuse = set()

    def export(self, target):
        self._check('export', target.iqn)
        self.targets[target.iqn] = target
        self.stores.add(target.iqn)
        self.acls.setdefault(target.iqn, {})

    def unexport(self, iqn, unless_granted=False):
        self._check('remove', iqn)
        if unless_granted and self.acls.get(iqn):
            return False
        self.targets.pop(iqn, None)
        self.stores.discard(iqn)
        self.acls.pop(iqn, None)
        return True

    def grant(self, iqn, initiator, chap, beside=None):
        self._check('grant', iqn)
        others = tuple(set(self.acls[iqn]) - {initiator, *(beside or ())})
        if beside is not None and others:
            return others
        self.acls[iqn][initiator] = chap
        return ()

    def revoke(self, iqn, initiator):
        self._check('revoke', iqn)
        for name in list(self.acls.get(iqn, ())):
            if initiator in (None, name):
                del self.acls[iqn][name]

    def initiators(self, iqn):
        return list(self.acls.get(iqn, ()))

    def exported(self, iqns):
        return [iqn for iqn in iqns if iqn in self.targets]

    def names(self, part):
        return [iqn for iqn in self.stores.union(self.targets) if part in iqn]

    def logged_in(self, pairs):
        return [initiator in self.logged_in_to.get(iqn, ())
                if initiator in self.acls.get(iqn, ()) else None
                for iqn, initiator in pairs]

    def sessions(self, iqn):
        return self.logged_in_to.get(iqn, [])

    def _check(self, action, iqn):
        if action in self.refuse:
            raise brick_exception.TargetError(action=action, target=iqn,
                                              reason='no')


class DeviceMapper:
    """os_brick_vmthunder.devicemapper, as far as assemblies need it."""

    Linear, Zero, Snapshot = dm.Linear, dm.Zero, dm.Snapshot
    path_of = staticmethod(dm.path_of)
    padded = staticmethod(dm.padded)

    def __init__(self):
        self.devices = {}  # table by name, in the order they were made
        self.states = {}  # what the kernel says of a snapshot, by name
        self.held_names = set()
        self.sizes = {}  # of nbd devices

    def find(self, name):
        return self.devices.get(name)

    def create(self, name, uuid, table, readonly=False):
        assert readonly != isinstance(table[0], dm.Snapshot)
        self.devices[name] = table
        return self.path_of(name)

    def remake(self, name, uuid, table):
        self.held_names.discard(name)
        self.devices[name] = table
        return self.path_of(name)

    @contextlib.contextmanager
    def held(self, name):
        if name in self.devices:
            self.held_names.add(name)
        try:
            yield
        except Exception:
            self.wake(name)
            raise

    def wake(self, name):
        self.held_names.discard(name)

    def remove(self, name):
        self.devices.pop(name, None)

    def size(self, device):
        """As of sysfs."""
        return self.sizes[device]

    def snapshot_status(self, name):
        return dm.SnapshotStatus(self.states.get(name, 'valid'))


class NBD:
    """os_brick_vmthunder.privileged.nbd."""

    def __init__(self, mapper):
        self._mapper = mapper
        self.disks = {}  # device and what is served there, by name
        self._count = 0

    def serve(self, name, node):
        from cinder_vmthunder import stores
        assert name not in self.disks
        device = f'/dev/nbd{self._count}'
        self._count += 1
        node = json.loads(node.removeprefix('json:'))
        store = node['file']['filename']
        self._mapper.sizes[device] = stores.qcow2.sizes[store]
        self.disks[name] = device, store, node['backing']['file']['filename']
        return device

    def served(self, name):
        return self.disks.get(name, (None,))[0]

    def stop(self, name):
        self.disks.pop(name, None)


class Overlays:
    """os_brick_vmthunder.privileged.qcow2."""

    def __init__(self):
        self.sizes = {}  # of disks, by their devices
        self.written = set()
        self.damaged = set()
        self.repaired = []

    def create(self, device, size, backing, options):
        assert backing.startswith('vmthunder:')
        self.sizes[device] = size

    def resize(self, device, size):
        assert size > self.sizes[device]
        self.sizes[device] = size

    def look(self, device):
        # as what it was copied from
        size = self.sizes.setdefault(device, max(self.sizes.values()))
        return size, device not in self.written

    def repair(self, device):
        self.repaired.append(device)
        return device not in self.damaged


class Locks:
    """A coordinator."""

    def __init__(self):
        self._locks = {}

    def get_lock(self, name):
        return self._locks.setdefault(name, threading.Lock())

    def remove_lock(self, name):
        assert self._locks.pop(name).locked()


class Database:
    """Cinder's database API."""

    def __init__(self):
        self.secrets = {}
        self.volumes = {}
        self.volume_glance_metadata_bulk_create = mock.Mock()

    def driver_initiator_data_get(self, context, initiator, namespace):
        return [{'key': key, 'value': value} for key, value in
                self.secrets.get((namespace, initiator), {}).items()]

    def driver_initiator_data_insert_by_key(self, context, initiator,
                                            namespace, key, value):
        from cinder import exception
        found = self.secrets.setdefault((namespace, initiator), {})
        if key in found:
            raise exception.DriverInitiatorDataExists(
                initiator=initiator, namespace=namespace, key=key)
        found[key] = value

    def volume_get(self, context, volume_id):
        return self.volumes.get(volume_id, {'provider_auth': None})

    def volume_attachment_get_all_by_volume_id(self, context, volume_id):
        return []  # as with the API of before attachments


class Volume(types.SimpleNamespace):
    """As much of a volume as the driver looks at."""

    def __init__(self, volume_id=VOLUME, **values):
        super().__init__(**{
            'id': volume_id, 'name': f'volume-{volume_id}', 'size': 2,
            'multiattach': False, 'volume_attachment': [],
            'volume_type_id': None,
            'provider_location': None, 'provider_auth': None,
            'service_topic_queue': 'host@backend', **values})

    def __getitem__(self, key):
        return getattr(self, key)

    def get(self, key, default=None):
        return getattr(self, key, default)

    def attach(self, *connectors):
        self.volume_attachment = [
            types.SimpleNamespace(connector=connector)
            for connector in connectors]


def connector(host, **values):
    return {'initiator': f'iqn.1993-08.org.debian:{host}', 'host': host,
            'vmthunder': {'version': '1.0'}, **values}


def backend(**values):
    """Return a backend's configuration."""
    from cinder.volume import driver  # noqa: F401 (has the options)
    name = f'backend{len(values)}'
    cfg.CONF.register_group(cfg.OptGroup(name))
    settings = configuration.Configuration([], config_group=name)
    values = {'volume_group': GROUP, 'lvm_type': 'thin', 'lvm_mirrors': 0,
              'target_helper': 'lioadm', 'target_protocol': 'iscsi',
              'target_ip_address': '10.0.0.1',
              'target_secondary_ip_addresses': ['fd00::1'],
              'target_port': 3260, 'target_prefix': PREFIX,
              'volume_backend_name': None, 'vmthunder_relay_networks': [],
              'reserved_percentage': 0, 'max_over_subscription_ratio': '20',
              'filter_function': None, 'goodness_function': None,
              **values}
    settings.safe_get = values.get
    settings.append_config_values = lambda options: None
    for key, value in values.items():
        setattr(settings, key, value)
    return settings


@contextlib.contextmanager
def world(lvm=None, lio=None):
    """Put the fakes in the place of what they stand for."""
    lvm, lio = lvm or LVM(), lio or LIO()
    with mock.patch('cinder_vmthunder.targets.lio', lio), \
            mock.patch('cinder.coordination.COORDINATOR', Locks()), \
            mock.patch('cinder.privsep.lvm.lvrename', lvm.lvrename), \
            mock.patch('cinder_vmthunder.assembly.dm',
                       DeviceMapper()) as mapper, \
            mock.patch('cinder_vmthunder.layers.dm', mapper), \
            mock.patch('cinder_vmthunder.layers.sysfs', mapper), \
            mock.patch('cinder_vmthunder.layers.nbd', NBD(mapper)), \
            mock.patch('cinder_vmthunder.stores.qcow2', Overlays()), \
            mock.patch('cinder_vmthunder.stores.snapshotheader'), \
            mock.patch('cinder_vmthunder.stores.blockdev'), \
            mock.patch('cinder_vmthunder.diffs.blockdev'), \
            mock.patch('os_brick_vmthunder.privileged.blockdev') as blockdev:
        stores.snapshotheader.make_valid.return_value = False
        blockdev.zero, blockdev.flush = mock.Mock(), mock.Mock()
        yield lvm, lio
