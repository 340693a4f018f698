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

"""The Cinder driver on a storage host, without Cinder around it.

What Cinder's database and Glance would keep lies in files, so that every
call may be made, and killed, in a process of its own. All runs on the host.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import types
from typing import Any

from cinder import context
from cinder import coordination
from cinder import exception as cinder_exception
from cinder import objects
import cinder.privsep
from cinder.volume import configuration
from oslo_config import cfg

from os_brick_vmthunder import privileged
from tests.functional import content
from tests.functional import steps
from tests.functional import storage
from tests.lab import cheapforks

objects.register_all()

from cinder_vmthunder import driver  # noqa: E402 (needs the objects)
from cinder_vmthunder import volumetypes  # noqa: E402

STATE = pathlib.Path('/var/lib/volumes-test')
IMAGES = STATE / 'images'
CONVERSION = STATE / 'conversion'
GROUP = 'vg'
ADDRESSES = ('10.77.0.71', '10.77.0.72')
_GENERAL = f"""
[DEFAULT]
state_path = {STATE}
rootwrap_config = /dev/null
verify_glance_signatures = disabled
[oslo_concurrency]
lock_path = {STATE}/locks
[backend]
"""
MODULES = ('tests.functional.volumes', 'rtslib_fb',
           'os_brick_vmthunder.privileged.lio')


class Volume(types.SimpleNamespace):
    """As much of a volume as the driver looks at."""

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)


class Database:
    """The part of Cinder's database that the driver uses."""

    def driver_initiator_data_get(self, ctxt: Any, initiator: str,
                                  namespace: str) -> list[dict[str, str]]:
        path = STATE / 'db' / f'{namespace}:{initiator}'
        return ([{'key': key, 'value': value} for key, value in
                 json.loads(path.read_text()).items()]
                if path.exists() else [])

    def driver_initiator_data_insert_by_key(
            self, ctxt: Any, initiator: str, namespace: str, key: str,
            value: str) -> None:
        path = STATE / 'db' / f'{namespace}:{initiator}'
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(f'.{os.getpid()}')
        temporary.write_text(json.dumps({key: value}))
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise cinder_exception.DriverInitiatorDataExists(
                initiator=initiator, namespace=namespace, key=key)
        finally:
            temporary.unlink()

    def volume_get(self, ctxt: Any, volume_id: str) -> dict[str, Any]:
        path = STATE / 'volumes' / volume_id
        if path.exists():
            return json.loads(path.read_text())
        raise cinder_exception.VolumeNotFound(volume_id=volume_id)

    #: none as with the API of before attachments: no relays
    attachments: list[Any] = []

    def volume_attachment_get_all_by_volume_id(
            self, ctxt: Any, volume_id: str) -> list[Any]:
        return self.attachments

    def volume_attachment_update(self, *args: Any) -> None:
        """What is told to whom is of no interest."""


class ImageService:
    """Glance: images are files with their description beside them."""

    temp_images = None

    def show(self, ctxt: Any, image_id: str) -> dict[str, Any]:
        return json.loads((IMAGES / f'{image_id}.json').read_text())

    def download(self, ctxt: Any, image_id: str, data: Any) -> None:
        with open(IMAGES / 'downloads', 'a') as log:
            log.write(f'{image_id}\n')
        time.sleep(1)  # for others to come meanwhile
        with open(IMAGES / image_id, 'rb') as file:
            shutil.copyfileobj(file, data)


def prepare(disk: str, pool: str = '95%FREE') -> None:
    """Make the host a storage host; twice does no harm.

    :param pool: how large the thin pool is to be.
    """
    IMAGES.mkdir(parents=True, exist_ok=True)
    if subprocess.run(['vgs', GROUP], capture_output=True).returncode:
        subprocess.run(['vgcreate', '-qq', GROUP, disk], check=True)
        subprocess.run(['lvcreate', '-qq', '-l', pool, '-T',
                        f'{GROUP}/{GROUP}-pool'], check=True)


def make_driver(check: bool = False, **options: Any
                ) -> driver.VMThunderDriver:
    """Return the driver.

    :param check: as the service does at its start. It takes many commands,
        and only plain volumes need what comes of it.
    """
    cheapforks.use()
    privileged.default.set_client_mode(False)
    cinder.privsep.sys_admin_pctxt.set_client_mode(False)
    settings = {'volume_group': GROUP, 'lvm_type': 'thin',
                'target_helper': 'lioadm', 'target_protocol': 'iscsi',
                'target_ip_address': ADDRESSES[0],
                'target_secondary_ip_addresses': ','.join(ADDRESSES[1:]),
                'volume_clear': 'none', **options}
    with tempfile.NamedTemporaryFile('w', suffix='.conf') as file:
        file.write(_GENERAL)
        file.writelines(f'{name} = {value}\n'
                        for name, value in settings.items())
        file.flush()
        cfg.CONF([], project='cinder', default_config_files=[file.name])
    if not coordination.COORDINATOR.started:
        coordination.COORDINATOR.start()
    cfg.CONF.register_group(cfg.OptGroup('backend'))
    made = driver.VMThunderDriver(configuration=configuration.Configuration(
        [], config_group='backend'))
    made.db = Database()
    made._exports._credentials._data._db = made.db
    made._exports._attachments._db = made.db
    made.target_driver.db = made._exports._diff_target.db = made.db
    made._exports._assembly_target.db = made.db
    # a type's id is the mode of its volumes
    setattr(volumetypes, '_extra_specs', lambda type_id: (
        {volumetypes.SNAPSHOT_MODE: type_id} if type_id else {}))
    # nor would volumes be found whose attachments nobody keeps
    setattr(made._attachments, 'of_busy_volumes', lambda *_: [])
    if check:
        made.check_for_setup_error()
    return made


def volume_of(volume_id: str, size: int = 1, **values: Any) -> Volume:
    """Return a volume; size in GiB."""
    return Volume(**{
        'id': volume_id, 'name': f'volume-{volume_id}', 'size': size,
        'multiattach': False, 'volume_attachment': [],
        'provider_location': None, 'provider_auth': None,
        'encryption_key_id': None, 'volume_type_id': None,
        'service_topic_queue': 'storage@vmthunder', **values})


def stored(volume_id: str, connector: dict[str, Any] | None = None) -> Volume:
    """Return a volume as Cinder's database knows it, attached or not."""
    attachments = [types.SimpleNamespace(connector=connector)
                   ] if connector else []
    path = STATE / 'volumes' / volume_id
    values = json.loads(path.read_text()) if path.exists() else {}
    return volume_of(volume_id, volume_attachment=attachments, **values)


def store(volume: Volume, **values: Any) -> None:
    """Change what Cinder's database knows of a volume."""
    volume.__dict__.update(values)
    path = STATE / 'volumes' / volume.id
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(
        {name: getattr(volume, name) for name in
         ('size', 'provider_location', 'provider_auth')}))


def create(volume_id: str, image_id: str, size: int = 1,
           mode: str | None = None, **options: Any) -> bool:
    """Make a volume from an image; return whether the driver did."""
    return clone_image(make_driver(**options), volume_id, image_id, size,
                       mode)


def create_killed(step: int, volume_id: str, image_id: str) -> list[str]:
    """Die before a step of making a volume, see ``steps``."""
    return steps.run(step, clone_image, make_driver(), volume_id, image_id)


def clone_image(made: driver.VMThunderDriver, volume_id: str, image_id: str,
                size: int = 1, mode: str | None = None) -> bool:
    """Make a volume from an image; return whether the driver did."""
    service, volume = ImageService(), volume_of(
        volume_id, size, volume_type_id=mode)
    store(volume)
    _update, cloned = made.clone_image(
        context.get_admin_context(), volume, None,
        service.show(None, image_id), service)
    return cloned


def delete(volume_id: str, made: driver.VMThunderDriver | None = None,
           **options: Any) -> None:
    """Do what the manager does.

    :param made: a driver, if there is one.
    :param options: of one that is made.
    """
    made, volume = made or make_driver(**options), stored(volume_id)
    made.remove_export(None, volume)
    made.delete_volume(volume)
    (STATE / 'volumes' / volume_id).unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class Remade:
    """What :func:`make_again` saw."""

    templates: list[dict[str, Any]]
    digests: list[str]
    left: list[str]


def make_again(volume_id: str, image_id: str, size: int) -> Remade:
    """Make a volume whose making was killed, look at it, and delete it.

    In one process, since starting one for each step is what costs most.

    :param size: of the image in bytes.
    """
    assert create(volume_id, image_id)
    found = [volume for name, volume in volumes().items()
             if name.startswith('template-')]
    digests = [digest(each['path'], size) for each in found]
    delete(volume_id, vmthunder_template_retention=0)
    # cinder-volume removes these when it starts
    shutil.rmtree(CONVERSION, ignore_errors=True)
    return Remade(found, digests, list(volumes()))


def attach(volume_id: str, connector: dict[str, Any],
           made: driver.VMThunderDriver | None = None,
           there: dict[str, Any] | None = None,
           server: str | None = None) -> dict[str, Any]:
    """Do what the manager does; return the connection's data.

    :param made: a driver, if there is one.
    :param there: connector of the host that has the volume already.
    :param server: the server that both hosts have it for.
    """
    made, volume = made or make_driver(), stored(volume_id, there)
    if server:
        made.db.attachments = [_attachment(server, there),
                               _attachment(server)]
    made.validate_connector(connector)
    update = made.create_export(context.get_admin_context(), volume,
                                connector)
    store(volume, **update)
    try:
        return made.initialize_connection(volume, connector)
    except Exception:
        made.remove_export(None, volume)
        raise


def _attachment(server: str, connector: dict[str, Any] | None = None
                ) -> types.SimpleNamespace:
    """Return a row of Cinder's."""
    return types.SimpleNamespace(
        id='attachment', attach_status='reserved', instance_uuid=server,
        connector=connector and json.dumps(connector), created_at=0,
        connection_info=None)


def detach(volume_id: str, connector: dict[str, Any] | None,
           made: driver.VMThunderDriver | None = None) -> None:
    """Do what the manager does.

    :param made: a driver, if there is one.
    """
    made, volume = made or make_driver(), stored(volume_id, connector)
    if not made.terminate_connection(volume, connector):
        made.remove_export(None, volume)


def create_blank(volume_id: str) -> None:
    make_driver(True).create_volume(volume_of(volume_id))


def attach_plain(volume_id: str, connector: dict[str, Any]
                 ) -> dict[str, Any]:
    """Attach and detach a volume that is no diff."""
    made, volume = make_driver(True), stored(volume_id)
    volume.__dict__.update(made.create_export(
        context.get_admin_context(), volume, connector))
    info = made.initialize_connection(volume, connector)
    there = lio_objects()
    made.terminate_connection(volume, connector)
    made.remove_export(None, volume)
    made.delete_volume(volume)
    return {**info, 'there': there}


def restart(volume_id: str, connector: dict[str, Any]) -> None:
    """Do what the manager does at start with an attached volume."""
    made = make_driver()
    made.ensure_export(context.get_admin_context(),
                       stored(volume_id, connector))


def statistics(**options: Any) -> dict[str, Any]:
    """Let the periodic pass run."""
    return make_driver(**options).get_volume_stats(refresh=True)


def statistics_of_both(volume_id: str
                       ) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the driver says, and what Cinder's LVM driver would.

    :param volume_id: of a blank volume, which is there meanwhile.
    """
    made, volume = make_driver(True), volume_of(volume_id)
    made.create_volume(volume)
    ours = made.get_volume_stats(refresh=True)
    driver.lvm.LVMVolumeDriver._update_volume_stats(made)
    made.delete_volume(volume)
    return ours, made.get_volume_stats()


def tidy_up(**options: Any) -> None:
    """Let only that part of the periodic pass run that is about templates."""
    made = make_driver(**options)
    made._templates.collect(made._group.volumes())


def add_image(image_id: str, kind: str, size: int, **meta: Any) -> str:
    """Put an image into Glance: data at both ends, zeroes between.

    Some of the zeroes are written out.

    :param kind: the format it really has.
    :param size: bytes of the disk.
    :returns: SHA-256 of the disk.
    """
    raw, path = IMAGES / f'{image_id}.raw', IMAGES / image_id
    with open(raw, 'wb') as file:
        file.truncate(size)
        for offset, data in content.image_data(image_id, size):
            file.seek(offset)
            file.write(data)
    subprocess.run(['qemu-img', 'convert', '-O', kind, raw, path],
                   check=True)
    subprocess.run(['qemu-io', '-f', kind, '-c',
                    f'write -P 0 {content.DATA} {content.DATA}', path],
                   check=True, capture_output=True)
    with open(raw, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    raw.unlink()
    (IMAGES / f'{image_id}.json').write_text(json.dumps({
        'id': image_id, 'disk_format': kind,
        'container_format': 'bare', 'size': path.stat().st_size,
        'os_hash_algo': 'sha256', 'os_hash_value': digest,
        'properties': {}, **meta}))
    return digest


def downloads(image_id: str) -> int:
    """Return how often an image was fetched."""
    path = IMAGES / 'downloads'
    return path.read_text().split().count(image_id) if path.exists() else 0


def digest(path: str, size: int) -> str:
    """Return the SHA-256 of a device's beginning."""
    with open(path, 'rb') as file:
        return hashlib.sha256(file.read(size)).hexdigest()


def read(path: str, size: int) -> bytes:
    with open(path, 'rb') as file:
        return file.read(size)


def volumes() -> dict[str, dict[str, Any]]:
    """Return all LVs but the pool, by name."""
    privileged.default.set_client_mode(False)
    group = driver.volumegroup.VolumeGroup(GROUP)
    return {volume.name: {**vars(volume), 'path': group.path(volume.name)}
            for volume in group.volumes() if not volume.name.endswith('pool')}


def lio_objects() -> list[str]:
    """Return the names of targets and backstores."""
    return sorted(storage.exports())


def remains() -> list[str]:
    """Return temporary files, and processes that should have ended."""
    files = [str(path) for path in CONVERSION.glob('*')]
    found = subprocess.run(['pgrep', '-a', 'qemu-'], capture_output=True,
                           text=True)
    return files + found.stdout.splitlines()
