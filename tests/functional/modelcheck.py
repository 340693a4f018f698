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

"""What volumes and snapshots hold on the storage host; all runs there."""

import dataclasses
import os
import struct
import subprocess
from typing import Iterable, Iterator, Sequence

from cinder_vmthunder import diffs
from tests.functional import modelcontent
from tests.functional import modelhosts
from tests.functional import modelstorage
from tests.functional import volumes

MODULES = (*volumes.MODULES, 'tests.functional.modelcheck')

_SECTOR = modelcontent.SECTOR
_MAGIC, _VALID, _VERSION = 0x70416e53, 1, 1
_EXCEPTION = struct.Struct('<QQ')


@dataclasses.dataclass(frozen=True)
class Expected:
    """A volume or snapshot.

    :ivar name: of its LV.
    :ivar image_id: whose template is below it.
    :ivar image: what the image holds.
    """

    name: str
    content: modelcontent.Content
    image_id: str
    image: modelcontent.Content


def check(expected: Sequence[Expected], streamed: int) -> list[str]:
    """Compare all of volumes and snapshots with what they are to hold.

    What dm-snapshot stored is read without dm-snapshot. So nothing in
    between hides anything, and nobody has to read what was never written.

    :param streamed: which one is also read in full, as an upload does it.
    :returns: what is wrong.
    """
    if not expected:
        return []
    made = volumes.make_driver()
    found = {volume.name: volume for volume in made._group.volumes()}
    below = modelstorage.templates_of(made)
    wrong = [f'no template of {each.image_id}, which {each.name} needs'
             for each in expected if each.image_id not in below]
    wrong += [f'there is no {each.name}' for each in expected
              if each.name not in found]
    if wrong:
        return wrong
    _activate(each.name for each in expected)
    images = {each.image_id: each.image for each in expected}
    for image_id, image in images.items():
        wrong += modelhosts.check_all(_path(below[image_id]), image)
    for number, each in enumerate(expected):
        diff = diffs.parse(found[each.name])
        assert diff, f'{each.name} is no diff'
        wrong += _check(each, diff, _path(below[each.image_id]))
        if number == streamed % len(expected):
            with made._assemblies.view(diff) as path:
                wrong += modelhosts.check_all(path, each.content)
    return wrong


def _check(expected: Expected, diff: diffs.Diff,
           template: str) -> Iterator[str]:
    name, content = expected.name, expected.content
    if diff.volume_size != content.size:
        yield f'{name} has {diff.volume_size} bytes, not {content.size}'
    chunk = diff.chunk_sectors
    with modelhosts.opened(_path(name)) as store, \
            modelhosts.opened(template) as origin:
        stored = dict(_exceptions(store, chunk))
        for old, new in sorted(stored.items()):
            wrong = content.compare(old * chunk,
                                    store.read(new * chunk, chunk))
            if wrong:
                yield f'{name}: {wrong}, in chunk {new} of the diff'
        for first, count in _ranges(content, chunk):
            if first // chunk not in stored:
                data = _read(origin, first, count)
                wrong = content.compare(first, data)
                if wrong:
                    yield f'{name}: {wrong}, as the template has it'


def _ranges(content: modelcontent.Content,
            chunk: int) -> Iterator[modelcontent.Range]:
    """Yield the chunks that something was written to."""
    for number in sorted({number for run in content.runs for number in
                          range(run.first // chunk,
                                (run.end - 1) // chunk + 1)}):
        yield number * chunk, chunk


def _read(origin: modelhosts.Device, first: int, count: int) -> bytes:
    beyond = first * _SECTOR >= origin.size
    return bytes(count * _SECTOR) if beyond else origin.read(first, count)


def _exceptions(store: modelhosts.Device,
                chunk: int) -> Iterator[tuple[int, int]]:
    """Yield which chunk of a volume is in which of its diff.

    See the kernel's drivers/md/dm-snap-persistent.c.
    """
    header = struct.unpack_from('<4I', store.read(0, 1))
    if not any(header):
        return  # nobody ever attached it
    if header != (_MAGIC, _VALID, _VERSION, chunk):
        raise AssertionError(f'{store.path} begins with {header}')
    per_area = chunk * _SECTOR // _EXCEPTION.size
    area = 1
    while True:
        metadata = store.read(area * chunk, chunk)
        for old, new in _EXCEPTION.iter_unpack(metadata):
            if not new:
                return
            yield old, new
        area += per_area + 1


def _activate(names: Iterable[str]) -> None:
    subprocess.run(['lvchange', '-a', 'y', '-K',
                    *(f'{volumes.GROUP}/{name}' for name in names)],
                   check=True)


def _path(name: str) -> str:
    return os.path.join('/dev', volumes.GROUP, name)
