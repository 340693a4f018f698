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

"""As much of rtslib as lio.py uses, over a directory instead of configfs."""

import os
import pathlib
import shutil
import types
import uuid


class RTSLibError(Exception):
    pass


class RTSLibNotInCFSError(RTSLibError):
    pass


utils = types.SimpleNamespace(RTSLibNotInCFSError=RTSLibNotInCFSError)
tcm = types.SimpleNamespace(bs_cache={})
root = pathlib.Path()
created: list = []  # what was made, by class


class RTSRoot:
    pass


class FabricModule:

    def __init__(self, name):
        self.path = root / name
        self.path.mkdir(exist_ok=True)


class Node:
    """A directory, and attributes that are files in it."""

    def __init__(self, path, mode='any'):
        vars(self)['path'] = path
        if not path.is_dir():
            if mode == 'lookup':
                raise RTSLibNotInCFSError(f'no {path}')
            path.mkdir(parents=True)
            created.append(type(self).__name__)
        elif mode == 'create':
            raise RTSLibError(f'{path} exists')

    def __setattr__(self, name, value):
        (self.path / f'={name}').write_text(str(value))

    def __getattr__(self, name):
        file = self.path / f'={name}'
        return file.read_text() if file.exists() else ''

    def get_attribute(self, name):
        return getattr(self, name) or '0'

    def set_attribute(self, name, value):
        setattr(self, name, value)

    def delete(self):
        shutil.rmtree(self.path)

    def nodes(self, kind, directory):
        return [kind(path) for path in sorted(
            (self.path / directory).glob('*')) if path.is_dir()]


class Target(Node):

    def __init__(self, fabric, iqn, mode='any'):
        super().__init__(fabric.path / iqn, mode)


class TPG(Node):

    def __init__(self, target, tag, mode='any'):
        super().__init__(target.path / f'tpgt_{tag}', mode)

    @property
    def node_acls(self):
        return [NodeACL(self, path.name) for path in
                sorted((self.path / 'acls').glob('*'))]

    @property
    def luns(self):
        return [LUN(self, 0) for path in (self.path / 'lun').glob('lun_*')]


class Link(Node):
    """A directory that a link makes complete."""

    def __init__(self, path, source):
        if source is None and not path.is_dir():
            raise RTSLibNotInCFSError(f'no {path}')
        super().__init__(path, 'any' if source is None else 'create')
        if source is not None:
            os.symlink(source, path / uuid.uuid4().hex[:10])


class LUN(Link):

    def __init__(self, group, number, store=None):
        super().__init__(group.path / 'lun' / f'lun_{number}',
                         store and store.path)


class NodeACL(Node):

    def __init__(self, group, name):
        super().__init__(group.path / 'acls' / name.lower())
        vars(self)['node_wwn'] = name.lower()
        vars(self)['group'] = group

    @property
    def mapped_luns(self):
        return [MappedLUN(self, 0) for path in self.path.glob('lun_*')]


class MappedLUN(Link):

    def __init__(self, acl, number, lun=None):
        super().__init__(
            acl.path / f'lun_{number}', None if lun is None else
            acl.group.path / 'lun' / f'lun_{lun}')


class NetworkPortal(Node):

    def __init__(self, group, address, port):
        super().__init__(group.path / 'np' / f'{address}:{port}')


class BlockStorageObject(Node):

    def __init__(self, name, dev=None, wwn=None, readonly=False):
        if dev and (root / 'core' / 'iblock_0').is_dir():
            raise RTSLibError('This _Backstore already exists in configFS')
        super().__init__(root / 'core' / name,
                         'create' if dev else 'lookup')
        if dev:
            (self.path / 'wwn').mkdir()
            (self.path / 'wwn' / 'product_id').write_text('IBLOCK')
            self.udev_path, self.wwn = dev, wwn
            vars(self)['made'] = True
            (self.path / 'readonly').write_text(str(int(readonly)))
            (self.path / 'enable').write_text('1')

    def is_configured(self):
        return (self.path / 'enable').exists()

    @property
    def readonly(self):
        return (self.path / 'readonly').read_text() == '1'

    @property
    def alua_tpgs(self):
        return [types.SimpleNamespace(name=path.name)
                for path in (self.path / 'alua').glob('*')]


class ALUATargetPortGroup(Node):

    def __init__(self, store, name, tag=None):
        path = store.path / 'alua' / name
        if tag is not None:
            path.mkdir(parents=True)
            (path / 'tg_pt_gp_id').touch()
            created.append('ALUATargetPortGroup')
        super().__init__(path, 'lookup')
        if tag is not None:
            (path / 'tg_pt_gp_id').write_text(str(tag))
