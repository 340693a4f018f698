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

from unittest import mock

from oslo_concurrency import processutils

from os_brick_vmthunder import dmstats
from os_brick_vmthunder.privileged import dmsetup
from os_brick_vmthunder import profile
from os_brick_vmthunder import sysfs

KERNEL, NAME = 'dm-7', 'vmthunder-x-origin'


class FakeStatistics:
    """device-mapper's statistics of one device."""

    def __init__(self):
        self.regions = {}
        self.said = []
        self.there = True
        self.reads = self.printed = 0
        self.memory = 1 << 30
        self.processors = 1

    def use(self, test):
        for target, name in ((dmsetup, 'message'), (sysfs, 'attribute'),
                             (dmstats.os, 'sysconf')):
            patch = mock.patch.object(target, name, getattr(self, name))
            patch.start()
            test.addCleanup(patch.stop)

    def message(self, name, text):
        if not self.there:
            raise processutils.ProcessExecutionError(
                stderr=f'Device {name} not found\n')
        self.said.append((name, text))
        action, *words = text.split()
        return getattr(self, action[1:])(*words)

    def stats_create(self, area, step, program):
        number = str(len(self.regions))
        self.regions[number] = area, int(step), program, {}
        return f'{number}\n'

    def stats_list(self, program):
        return ''.join(f'{number}: {area} {step} {owner} -\n'
                       for number, (area, step, owner, _read)
                       in self.regions.items() if owner == program)

    def stats_delete(self, number):
        del self.regions[number]
        return ''

    def stats_print(self, number, first, count):
        area, step, _program, read = self.regions[number]
        start, length = map(int, area.split('+'))
        lines = [
            f'{start + place}+{min(step, length - place)} '
            f'3 0 {read.get(place // step, 0)} '
            '0 5 0 40 0 0 0 0 0 0\n'  # written to, which doesn't count
            for place in range(0, length, step)]
        lines = lines[int(first):][:int(count)]
        self.printed += len(lines)
        return ''.join(lines)

    def attribute(self, kernel, name):
        assert (kernel, name) == (KERNEL, 'stat')
        return f'{self.reads} 0 0' if self.there else None

    def sysconf(self, name):
        return {'SC_PHYS_PAGES': self.memory >> 12, 'SC_PAGE_SIZE': 4096,
                'SC_NPROCESSORS_CONF': self.processors}[name]

    def read(self, *numbers):
        """Read some places, by the number of the unit."""
        self.reads += len(numbers)
        for area, step, _program, read in self.regions.values():
            start, length = map(int, area.split('+'))
            for number in numbers:
                place = number * profile.UNIT // 512 - start
                if 0 <= place < length:
                    read[place // step] = read.get(place // step, 0) + 8
