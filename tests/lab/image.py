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

"""A bootable Debian image, made once from the machine's own apt sources.

``python -m tests.lab.image`` prints the image's path, making it first if
it isn't there yet: that takes about a minute, root and the network, so it
is done outside the sandbox. Nothing is mounted, no loop device is needed.

The disk has two partitions: FAT with syslinux and the kernel, and ext4 with
a Debian userland under sysvinit, overlaid with what stands in ``guest/``. At
boot it writes its diary, shows it on the serial console and powers off.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
from typing import Callable
from typing import Iterator
from typing import TextIO

from tests.lab import errors

MIB = 1 << 20
DISK_SIZE = 1024 * MIB
BOOT_START, BOOT_SIZE = MIB, 32 * MIB
ROOT_START = BOOT_START + BOOT_SIZE
ROOT_SIZE = DISK_SIZE - ROOT_START - MIB

PACKAGES = ('sysvinit-core', 'linux-image-cloud-amd64', 'initramfs-tools',
            'kmod', 'lz4')
UNWANTED = ('/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*',
            '/usr/share/info/*')
# Options of the machine's apt that say how to reach the archive.
REACH = ('Acquire::http', 'Acquire::https', 'Acquire::Check-',
         'Acquire::Retries', 'Acquire::ForceIPv')

GUEST = pathlib.Path(__file__).parent / 'guest'
MBR = pathlib.Path('/usr/lib/syslinux/mbr/mbr.bin')
SYSLINUX_CFG = """\
DEFAULT debian
PROMPT 0
LABEL debian
LINUX vmlinuz
INITRD initrd
APPEND root=/dev/vda2 rw fastboot console=ttyS0 quiet mitigations=off
"""
TOOLS = {'mmdebstrap': 'mmdebstrap', 'mke2fs': 'e2fsprogs',
         'sfdisk': 'fdisk', 'mkfs.vfat': 'dosfstools', 'mcopy': 'mtools',
         'syslinux': 'syslinux', 'qemu-img': 'qemu-utils',
         'unshare': 'util-linux'}


class ImageError(errors.LabError):
    """The image can't be made, or isn't there."""


def cache_directory() -> pathlib.Path:
    """Where images are kept between runs."""
    base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return pathlib.Path(base).expanduser() / 'vmthunder'


def path() -> pathlib.Path:
    """Where the image is, or will be, for the recipe as it is now."""
    digest = hashlib.sha256(pathlib.Path(__file__).read_bytes())
    for file in sorted(GUEST.rglob('*')):
        if file.is_file():
            digest.update(f'{file.relative_to(GUEST)} '
                          f'{file.stat().st_mode & 0o111}\0'.encode())
            digest.update(file.read_bytes())
    return cache_directory() / f'debian-{digest.hexdigest()[:16]}.qcow2'


def find() -> pathlib.Path:
    """Return the image's path.

    :raises ImageError: if it hasn't been made
    """
    image = path()
    if not image.exists():
        raise ImageError(f'There is no image at {image}: run '
                         f'"python -m tests.lab.image" outside the sandbox.')
    return image


def build(report: Callable[[str], None] = lambda line: None) -> pathlib.Path:
    """Make the image unless it is there, and return its path.

    Two builds at once make one image. A build that is killed leaves only a
    directory that the next one removes.

    :param report: called with a line of text at each step
    :raises ImageError: if a tool or the archive is missing or fails
    """
    image = path()
    if image.exists():
        return image
    _check_tools()
    image.parent.mkdir(parents=True, exist_ok=True)
    with _locked(image.parent) as lock:
        if image.exists():
            return image
        for leftover in image.parent.glob('build-*'):
            shutil.rmtree(leftover)
        work = pathlib.Path(tempfile.mkdtemp(prefix='build-',
                                             dir=image.parent))
        try:
            _Build(work, lock, report).make(image)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        for older in image.parent.glob('debian-*.qcow2'):
            if older != image:
                older.unlink()
    return image


@contextlib.contextmanager
def _locked(directory: pathlib.Path) -> Iterator[TextIO]:
    with open(directory / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _check_tools() -> None:
    if os.geteuid():
        raise ImageError('Making the image needs root.')
    missing = [package for tool, package in TOOLS.items()
               if not shutil.which(tool)]
    if not MBR.exists():
        missing.append('syslinux-common')
    if missing:
        raise ImageError(f'Making the image needs these Debian packages: '
                         f'apt-get install {" ".join(missing)}')


class _Build:
    """One making of the image, in a directory of its own."""

    def __init__(self, work: pathlib.Path, lock: TextIO,
                 report: Callable[[str], None]) -> None:
        self.work = work
        self.lock = lock
        self.report = report
        self.root = work / 'root'
        self.disk = work / 'disk.raw'

    def make(self, image: pathlib.Path) -> None:
        self.report('image: Debian packages (mmdebstrap)')
        self._userland()
        self.report('image: disk with boot loader, kernel and root')
        self._boot_partition()
        self._disk()
        self.report('image: qcow2')
        made = self.work / 'disk.qcow2'
        self._run('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2',
                  self.disk, made)
        with open(made) as file:
            os.fsync(file.fileno())
        made.rename(image)

    def _userland(self) -> None:
        suite, sources = self._sources()
        command = ['mmdebstrap', '--mode=root', '--format=directory',
                   '--variant=essential', '--quiet',
                   '--include=' + ','.join(PACKAGES),
                   '--aptopt=APT::Install-Recommends "false"',
                   '--dpkgopt=force-confold']
        command += [f'--aptopt={option}' for option in self._reach()]
        command += [f'--dpkgopt=path-exclude={glob}' for glob in UNWANTED]
        # Before the kernel comes, whose initramfs is made from it.
        command += [f'--essential-hook=cp -r --no-preserve=ownership '
                    f'"{GUEST}/." "$1"']
        # In namespaces of its own: what it mounts and starts goes with it.
        self._run('unshare', '--mount', '--pid', '--fork', '--kill-child',
                  '--mount-proc', *command, suite, self.root, '-',
                  stdin=sources)
        # What the machine's apt was told is nobody else's business.
        (self.root / 'etc/apt/apt.conf.d/99mmdebstrap').unlink()
        (self.root / 'etc/apt/sources.list').unlink()

    def _sources(self) -> tuple[str, str]:
        """Return the suite and the sources.list of the machine's Debian."""
        suite = platform.freedesktop_os_release().get('VERSION_CODENAME', '')
        columns = '$(CODENAME) $(REPO_URI) $(RELEASE) $(COMPONENT)'
        output = self._run('apt-get', 'indextargets', '--format', columns,
                           'Created-By: Packages', 'Origin: Debian')
        targets = [line.split() for line in output.splitlines()]
        lines = {f'deb {uri} {release} {component}\n'
                 for codename, uri, release, component in targets
                 if codename.split('-')[0] == suite}
        if not lines:
            raise ImageError(f"No archive of Debian {suite or '(unknown)'} "
                             f"among this machine's apt sources: is this "
                             f'Debian, and was "apt-get update" run?')
        return suite, ''.join(sorted(lines))

    def _reach(self) -> list[str]:
        dump = self._run('apt-config', 'dump', 'Acquire').splitlines()
        return [line for line in dump if line.startswith(REACH)
                and not line.endswith(' "";')]

    def _boot_partition(self) -> None:
        boot = self.work / 'boot.fat'
        with open(boot, 'wb') as file:
            file.truncate(BOOT_SIZE)
        self._run('mkfs.vfat', '-n', 'BOOT', '-h', BOOT_START // 512, boot)
        self._run('syslinux', '--install', boot)
        kernel, = (self.root / 'boot').glob('vmlinuz-*')
        initrd, = (self.root / 'boot').glob('initrd.img-*')
        config = self.work / 'syslinux.cfg'
        config.write_text(SYSLINUX_CFG)
        for source, name in ((config, 'syslinux.cfg'), (kernel, 'vmlinuz'),
                             (initrd, 'initrd')):
            self._run('mcopy', '-i', boot, source, f'::{name}')

    def _disk(self) -> None:
        with open(self.disk, 'wb') as disk:
            disk.truncate(DISK_SIZE)
        self._run('sfdisk', '--quiet', self.disk, stdin=(
            f'label: dos\n'
            f'start={BOOT_START // 512}, size={BOOT_SIZE // 512}, type=c, '
            f'bootable\n'
            f'start={ROOT_START // 512}, size={ROOT_SIZE // 512}, type=83\n'))
        with open(self.disk, 'r+b') as disk:
            disk.write(MBR.read_bytes())
            disk.seek(BOOT_START)
            disk.write((self.work / 'boot.fat').read_bytes())
        # Inode tables and journal are zeroed now: the guest's kernel would
        # do it later, on every volume's own diff.
        self._run('mke2fs', '-q', '-t', 'ext4', '-L', 'root', '-J', 'size=8',
                  '-E', f'offset={ROOT_START},lazy_itable_init=0,'
                  f'lazy_journal_init=0', '-d', self.root, self.disk,
                  f'{ROOT_SIZE // 1024}k')

    def _run(self, *command: object, stdin: str = '') -> str:
        """Run a command; it holds the lock for as long as it lives."""
        words = [str(word) for word in command]
        result = subprocess.run(
            words, input=stdin, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, pass_fds=(self.lock.fileno(),),
            env={**os.environ, 'LC_ALL': 'C', 'MTOOLS_SKIP_CHECK': '1',
                 'DEBIAN_FRONTEND': 'noninteractive'})
        if result.returncode:
            raise ImageError(f'"{" ".join(words)}" exited with status '
                             f'{result.returncode}: {result.stderr.strip()}')
        return result.stdout


def main() -> int:
    try:
        print(build(lambda line: print(line, file=sys.stderr, flush=True)))
    except ImageError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('Interrupted: nothing half-made is left.', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
