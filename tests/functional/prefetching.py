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

"""What the tests of prefetching do on a compute host; all runs there."""

import mmap
import os
import subprocess
import threading
import time
from typing import Iterable

from os_brick_vmthunder import hostprofiles
from os_brick_vmthunder.privileged import dmsetup
from os_brick_vmthunder import profile
from os_brick_vmthunder import recorder
from tests.functional import compute
from tests.lab import brick

MIB = 1 << 20
_BLOCK = 64 << 10
_SETTLE_SECONDS = 2.0


def boot(path: str, groups: Iterable[Iterable[int]],
         pause: float = 2.0) -> None:
    """Read some of a disk, as a guest that boots.

    :param groups: which MiB; between groups it does something else.
    :param pause: for so many seconds.
    """
    for group in groups:
        for number in group:
            # not all of it, as guests do
            _read(path, number * MIB + _BLOCK, 2 * _BLOCK)
        time.sleep(pause)


def recorded_of(size: int, numbers: Iterable[int]) -> profile.Profile:
    """Return the profile of such a boot.

    :param size: bytes of the template.
    :param numbers: which MiB it reads.
    """
    begin, end = (offset // profile.UNIT for offset in (_BLOCK, 3 * _BLOCK))
    return profile.Profile.of(size, profile.UNIT, (
        number * MIB // profile.UNIT + area for number in numbers
        for area in range(begin, end)))


def read(path: str, numbers: Iterable[int]) -> None:
    """Read some MiB of a disk."""
    for number in numbers:
        _read(path, number * MIB, MIB)


def read_on(path: str, start: int, seconds: float,
            readers: int) -> tuple[int, int]:
    """Read a disk by several readers at once, each where no other does.

    :param start: byte from which on; nothing behind it has been read before.
    :param seconds: for how long, once what was under way when they began
        has had its time.
    :returns: how many bytes they read, and how many came over the network
        meanwhile that they did not ask for.
    """
    with open(path, 'rb') as file:
        end = file.seek(0, os.SEEK_END)
    deadline = time.monotonic() + _SETTLE_SECONDS + seconds
    counts = [0] * readers

    def read_here(number: int) -> None:
        for offset in range(start + number * _BLOCK, end, readers * _BLOCK):
            if time.monotonic() > deadline:
                return
            _read(path, offset, _BLOCK)
            counts[number] += _BLOCK

    threads = [threading.Thread(target=read_here, args=(number,))
               for number in range(readers)]
    for thread in threads:
        thread.start()
    time.sleep(_SETTLE_SECONDS)
    # not what the agent says of its progress: it tells but once a second
    read, came = sum(counts), compute.template_bytes()
    for thread in threads:
        thread.join()
    read, came = sum(counts) - read, compute.template_bytes() - came
    return read, came - read


def record_closely(size: int, offsets: Iterable[int], length: int
                   ) -> list[profile.Profile]:
    """Record the same boot twice, the second time looking closely.

    :param size: of the origin, which holds nothing but zeroes, in bytes.
    :param offsets: where the guest reads, in this order.
    :param length: how much it reads there, in bytes.
    """
    brick.connector('vmthunder', True)
    name, known = 'closely', None
    subprocess.run(('dmsetup', 'create', name, '--table',
                    f'0 {size // 512} zero'), check=True)
    # its rules read the new device, too
    subprocess.run(('udevadm', 'settle'), check=True)
    found = []
    try:
        kernel = os.path.basename(os.path.realpath(f'/dev/mapper/{name}'))
        for _boot in range(2):
            recording = recorder.Recording(kernel, name, size, known)
            for offset in offsets:
                _read(f'/dev/mapper/{name}', offset, length)
                recording.look()
            known = recording.read()
            recording.end()
            found.append(known)
        left = dmsetup.message(name, '@stats_list')
        assert not left, left
    finally:
        subprocess.run(('dmsetup', 'remove', name), check=True)
    return found


def recorded(template_id: str) -> hostprofiles.Recorded | None:
    return hostprofiles.recorded.read(template_id)


def progress(template_id: str) -> hostprofiles.Progress | None:
    return hostprofiles.progress.read(template_id)


def forget() -> None:
    """Forget what was recorded here."""
    for template_id, _what in list(hostprofiles.recorded.all()):
        os.unlink(hostprofiles.recorded._path(template_id))


def _read(path: str, offset: int, length: int) -> None:
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, length) as buffer:
            os.preadv(file, [buffer], offset)
    finally:
        os.close(file)
