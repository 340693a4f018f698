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


import pathlib
import tempfile
from unittest import mock

from os_brick_vmthunder import sysfs


class Sysfs:
    """A root of ordinary files, with a /sys that os_brick_vmthunder reads.

    :param test: the test that it is for
    """

    def __init__(self, test):
        directory = tempfile.TemporaryDirectory()
        test.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name)
        self.block = self.root / 'sys/class/block'
        self.block.mkdir(parents=True)
        patch = mock.patch.object(sysfs, '_BLOCK', str(self.block))
        patch.start()
        test.addCleanup(patch.stop)

    def file(self, path, text=''):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{text}\n')

    def device(self, number, name, uuid, below=(), sectors=4096):
        directory = f'sys/class/block/dm-{number}'
        for attribute, text in (('dm/name', name), ('dm/uuid', uuid),
                                ('size', sectors), ('diskseq', number + 20)):
            self.file(f'{directory}/{attribute}', text)
        for device in below:
            self.file(f'{directory}/slaves/{device}/x')

    def disk(self, name, sectors, model=''):
        directory = f'sys/class/block/{name}'
        self.file(f'{directory}/stat', f'  7 0 {sectors} 1 2 3 4 5 6 7 8')
        self.file(f'{directory}/device/model', f'{model}    ')
