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

"""What the storage host does; all runs there.

Cinder's drivers are the real ones, ours and the LVM driver, without Cinder
around them: see :mod:`tests.functional.volumes`. So many volumes are made
and exported by one process, since in a lab host that is what takes time.
"""

import contextlib
import io
import json
import os
import re
import time
import typing
import uuid

from cinder.cmd import rtstool
from cinder import context
from cinder.volume import configuration
from cinder.volume.targets import lio
from oslo_config import cfg

from cinder_vmthunder import attachments
from tests.bench.storm import plan
from tests.bench.storm import trace as traces
from tests.functional import volumes

MODULES = (*volumes.MODULES, 'tests.bench.storm.storage')
PORT = 8000
#: What hosts fetch who copy the whole image.
FILE = volumes.STATE / 'image'

_TREE = volumes.STATE / 'tree'

Properties = dict[str, typing.Any]


class Tree:
    """What Cinder's database keeps of who reads from whom; in a file.

    It stands in for :class:`cinder_vmthunder.attachments.Attachments`.
    """

    def __init__(self) -> None:
        self._rows: list[str] = (json.loads(_TREE.read_text())
                                 if _TREE.exists() else [])

    def find(self, volume: typing.Any, connector: Properties
             ) -> attachments.Attachment:
        return attachments.Attachment(volume.id, 'reserved', None, None)

    def left_by_server(self, volume: typing.Any,
                       connector: Properties) -> None:
        """Nobody migrates."""

    def store(self, attachment: attachments.Attachment,
              connector: Properties, info: Properties) -> None:
        self._rows.append(json.dumps(info['data']))
        _TREE.write_text(json.dumps(self._rows))

    def restore(self, attachment: attachments.Attachment) -> None:
        """What failed ends the benchmark."""

    def of_template(self, volume: typing.Any,
                    template_id: str) -> list[attachments.Record]:
        return list(attachments._records(
            ('attached', 'in-use', row) for row in self._rows
            if template_id in row))

    def of_busy_volumes(self, *_: typing.Any) -> list[typing.Any]:
        return []


def forget_attachments() -> None:
    """Have no host read from any other that was attached until now."""
    _TREE.unlink(missing_ok=True)


def add_image(image_id: str, trace: traces.Trace) -> None:
    """Put an image into Glance that holds what a boot reads."""
    path = volumes.IMAGES / image_id
    with open(path, 'wb') as file:
        file.truncate(trace.disk_size)
        for offset, data in plan.data(image_id, trace):
            file.seek(offset)
            file.write(data)
    (volumes.IMAGES / f'{image_id}.json').write_text(json.dumps({
        'id': image_id, 'disk_format': 'raw', 'container_format': 'bare',
        'size': trace.disk_size, 'os_hash_algo': 'sha256',
        'os_hash_value': uuid.uuid4().hex, 'properties': {}}))


def make_diffs(image_id: str, connectors: typing.Sequence[Properties],
               **options: typing.Any
               ) -> tuple[list[Properties], float]:
    """Make a volume of VMThunder for each host, and export it.

    :param options: of the backend.
    :returns: the connections, in the order of the hosts, and the seconds
        that a volume took, with the import of its template.
    """
    made = volumes.make_driver(**options)
    tree = Tree()
    for part in (made, made._exports, made._exports._relays):
        setattr(part, '_attachments', tree)
    setattr(volumes.ImageService, 'download', _download)
    begin = time.monotonic()
    names = [str(uuid.uuid4()) for _ in connectors]
    for volume_id in names:
        if not volumes.clone_image(made, volume_id, image_id):
            raise RuntimeError(f'no diff was made of {image_id}')
    seconds = (time.monotonic() - begin) / len(names)
    return [volumes.attach(volume_id, connector, made)
            for volume_id, connector in zip(names, connectors)], seconds


def _download(self: typing.Any, ctxt: typing.Any, image_id: str,
              file: typing.BinaryIO) -> None:
    """Fetch an image from Glance, without writing its zeroes out."""
    with open(volumes.IMAGES / image_id, 'rb') as image:
        size = os.fstat(image.fileno()).st_size
        end = 0
        while end < size:
            try:
                begin = os.lseek(image.fileno(), end, os.SEEK_DATA)
            except OSError:  # no more data
                break
            end = os.lseek(image.fileno(), begin, os.SEEK_HOLE)
            image.seek(begin)
            file.seek(begin)
            file.write(image.read(end - begin))
        file.truncate(size)


def make_copies(image_id: str, trace: traces.Trace,
                connectors: typing.Sequence[Properties]
                ) -> tuple[list[Properties], float]:
    """Make volumes by the LVM driver as it does without a cache.

    Each is written with the image's data.

    :returns: the connections, and the seconds that a volume took.
    """
    driver = _stock()
    begin = time.monotonic()
    made = [_filled(driver, image_id, trace) for _ in connectors]
    seconds = (time.monotonic() - begin) / len(made)
    return [_export(driver, *each) for each in zip(made, connectors)], seconds


def make_clones(image_id: str, trace: traces.Trace,
                connectors: typing.Sequence[Properties]
                ) -> tuple[list[Properties], float]:
    """Make volumes by the LVM driver as it does from the image-volume cache.

    :returns: see :func:`make_copies`.
    """
    driver = _stock()
    cached = _filled(driver, image_id, trace)
    begin = time.monotonic()
    made = []
    for _ in connectors:
        volume = volumes.volume_of(str(uuid.uuid4()))
        driver.create_cloned_volume(volume, cached)
        made.append(volume)
    seconds = (time.monotonic() - begin) / len(made)
    return [_export(driver, *each) for each in zip(made, connectors)], seconds


def _filled(driver: typing.Any, image_id: str,
            trace: traces.Trace) -> volumes.Volume:
    volume = volumes.volume_of(str(uuid.uuid4()))
    driver.create_volume(volume)
    with open(driver.local_path(volume), 'r+b') as file:
        for offset, data in plan.data(image_id, trace):
            file.seek(offset)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return volume


def _export(driver: typing.Any, volume: volumes.Volume,
            connector: Properties) -> Properties:
    volumes.store(volume)
    volume.__dict__.update(driver.create_export(
        context.get_admin_context(), volume, connector))
    return dict(driver.initialize_connection(volume, connector))


def _stock() -> typing.Any:
    """Return Cinder's LVM driver over the same group and pool."""
    made = volumes.make_driver()
    cfg.CONF.register_group(cfg.OptGroup('backend'))
    driver = volumes.driver.lvm.LVMVolumeDriver(
        configuration=configuration.Configuration(
            [], config_group='backend'), db=made.db)
    driver.target_driver.db = made.db
    setattr(lio.LioAdm, '_execute', staticmethod(_rtstool))
    driver.check_for_setup_error()
    return driver


def _rtstool(program: str, action: str, *arguments: typing.Any,
             **_: typing.Any) -> tuple[str, str]:
    """Do what cinder-rtstool does, in this process.

    Each start of it takes seconds in a lab host. Nothing is saved for after
    a reboot.
    """
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        if action == 'create':
            path, name, user, password, iser, *options = arguments
            given = dict(re.match(r'-(.)(.*)', option).groups()  # type: ignore
                         for option in options)
            rtstool.create(path, name, user, password, str(iser),
                           portals_ips=given['a'].split(','),
                           portals_port=int(given.get('p', 3260)))
        elif action == 'add-initiator':
            iqn, user, password, initiator = arguments
            rtstool.add_initiator(iqn, initiator, user, password)
        elif action == 'get-targets':
            rtstool.get_targets()
        elif action not in ('save', 'verify'):
            raise ValueError(f'{program} {action}')
    return output.getvalue(), ''


def make_file(image_id: str, trace: traces.Trace) -> None:
    """Make the file that hosts fetch who copy the whole image.

    It begins with what a boot reads. It is as large as the image's own.
    """
    with open(FILE, 'wb') as file:
        for _offset, data in plan.data(image_id, trace):
            file.write(data)
        while file.tell() < trace.image_size:
            file.write(os.urandom(min(1 << 20,
                                      trace.image_size - file.tell())))


def forget() -> None:
    FILE.unlink()
