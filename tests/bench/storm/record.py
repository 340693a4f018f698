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

"""Record what a virtual machine reads and writes while it boots.

    python -m tests.bench.storm.record

boots the lab's image by QEMU on this machine itself, and writes
``boot.trace`` anew. QEMU interprets the guest, so that it can run anywhere:
a guest with hardware virtualization computes a few times as fast.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

from tests.bench.storm import trace
from tests.lab import image

_EVENTS = ('virtio_blk_handle_read', 'virtio_blk_handle_write',
           'virtio_blk_rw_complete')
_END = 'userland intact'
_TIMEOUT = 300


def record(disk: pathlib.Path, log: pathlib.Path) -> str:
    """Boot a disk, whose image stays as it is; return the guest's console.

    :param log: where QEMU writes what the guest asked of the disk.
    :raises RuntimeError: the guest did not come to its end.
    """
    events = [part for event in _EVENTS
              for part in ('-trace', f'enable={event}')]
    console = subprocess.run(
        ['qemu-system-x86_64', '-M', 'pc,accel=tcg', '-m', '256',
         '-nodefaults', '-display', 'none', '-serial', 'stdio', '-snapshot',
         '-drive', f'file={disk},format=raw,if=virtio', *events,
         '-msg', 'timestamp=on', '-D', str(log)],
        stdin=subprocess.DEVNULL, capture_output=True, check=True,
        timeout=_TIMEOUT).stdout.decode(errors='replace')
    if _END not in console:
        raise RuntimeError(f'The guest did not boot: {console[-2000:]}')
    return console


def main() -> int:
    source = image.build()
    with tempfile.TemporaryDirectory() as directory:
        disk, log = (pathlib.Path(directory, name)
                     for name in ('disk.raw', 'events'))
        subprocess.run(['qemu-img', 'convert', '-O', 'raw', source, disk],
                       check=True)
        record(disk, log)
        with open(log) as lines:
            requests = trace.from_events(lines)
        found = trace.Trace(_guest(), disk.stat().st_size,
                            source.stat().st_size, tuple(requests))
    trace.FILE.write_text(found.to_text())
    print(f'{len(requests)} requests, {found.seconds:.1f} s of computing')
    return 0


def _guest() -> str:
    version = subprocess.run(['qemu-system-x86_64', '--version'], check=True,
                             capture_output=True, text=True).stdout
    match = re.search(r'version ([\d.]+)', version)
    return (f'Debian with sysvinit (tests.lab.image), QEMU '
            f'{match[1] if match else ""}, -accel tcg, 256 MiB, virtio-blk')


if __name__ == '__main__':
    sys.exit(main())
