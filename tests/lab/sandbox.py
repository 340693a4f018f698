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

"""Private namespaces for everything the lab does to a machine.

``python -m tests.lab.sandbox [--] COMMAND...`` runs COMMAND, and exits with
its status, where network, mounts and processes are its own: /mnt is an
empty tmpfs, and the lab's two bridges are up. Whatever COMMAND leaves
behind dies and vanishes with it, even if it or this program is killed.

Three processes: this one (outside), unshare(1), and process 1 of the new
namespaces (inside), which runs COMMAND. The kernel kills unshare when the
first dies, process 1 when unshare dies, and all the rest with process 1.
"""

from __future__ import annotations

import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import typing

from tests.lab import errors
from tests.lab import network

STATE = pathlib.Path('/mnt/lab')

KERNEL = 'linux.uml'
# What it needs on newer CPUs, see xstate.c.
XSTATE = STATE / 'xstate.so'

# The project's root directory.
PROJECT = pathlib.Path(__file__).resolve().parents[2]

_MARK = STATE / '.sandbox'
_INSIDE = '--inside'

# How long COMMAND may take to end after a signal, in seconds.
_GRACE = 20

# A host keeps each file of the machine open that it has ever opened: some
# thousands.
_OPEN_FILES, _FEWEST_OPEN_FILES = 16384, 4096

# What a signal's siginfo says if the kernel, not a process, sent it.
_SI_KERNEL = 0x80

_NAMESPACES = ('unshare', '--net', '--mount', '--pid', '--fork',
               '--kill-child', '--mount-proc')


def inside() -> bool:
    """Whether this process runs in a sandbox."""
    try:
        return _MARK.read_text() == os.readlink('/proc/self/ns/pid')
    except OSError:
        return False


def ensure() -> None:
    """Return inside a sandbox: run this program again in one if needed."""
    if not inside():
        sys.exit(run([sys.executable, *sys.orig_argv[1:]]))


def require() -> None:
    """Check that this process runs in a sandbox.

    :raises SandboxError: if it does not
    """
    if not inside():
        raise errors.SandboxError(
            'This needs the lab\'s sandbox: run it by '
            '"python -m tests.lab.sandbox -- COMMAND".')


def run(command: typing.Sequence[str]) -> int:
    """Run a command in a sandbox of its own and return its exit status.

    :raises SandboxError: if the machine lacks something for that
    """
    _check_machine()
    environment = {name: value for name, value in os.environ.items()
                   if not name.lower().endswith('_proxy')}
    path = environment.get('PYTHONPATH')
    environment['PYTHONPATH'] = os.pathsep.join(
        filter(None, (str(PROJECT), path)))
    with _blocked_signals() as signals:
        process = subprocess.Popen(
            ['setpriv', '--pdeathsig', 'KILL', *_NAMESPACES, sys.executable,
             '-m', __spec__.name, _INSIDE, *command], env=environment)
        status = _supervise(
            process.pid, signals,
            lambda number: _signal_children(process.pid, number))
        process.returncode = status
    return status


def _check_machine() -> None:
    missing = []
    if os.geteuid() != 0:
        missing.append('to be root')
    if PROJECT.is_relative_to('/mnt'):
        missing.append('the project outside /mnt, where its state goes')
    if shutil.which(KERNEL) is None:
        missing.append('%s (Debian package user-mode-linux)' % KERNEL)
    if not os.path.exists('/dev/net/tun'):
        missing.append('/dev/net/tun (kernel module tun)')
    for program, package in (('unshare', 'util-linux'),
                             ('setpriv', 'util-linux'),
                             ('ip', 'iproute2'), ('tc', 'iproute2'),
                             ('gcc', 'gcc'),
                             ('mkfs.ext4', 'e2fsprogs')):
        if shutil.which(program) is None:
            missing.append('%s (Debian package %s)' % (program, package))
    if _allow_open_files() < _FEWEST_OPEN_FILES:
        missing.append('a larger limit of open files (ulimit -Hn %d)' %
                       _OPEN_FILES)
    if missing:
        raise errors.SandboxError(
            'The lab needs ' + ', '.join(missing) + '.')


def _allow_open_files() -> int:
    """Let this process and its children open many files.

    :returns: how many
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = (_OPEN_FILES if hard == resource.RLIM_INFINITY
             else min(hard, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return count


class _blocked_signals:
    """Hold signals back, so that sigwaitinfo() can take them."""

    _SIGNALS = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM,
                signal.SIGHUP)

    def __enter__(self) -> tuple[signal.Signals, ...]:
        self._old = signal.pthread_sigmask(signal.SIG_BLOCK, self._SIGNALS)
        return self._SIGNALS

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._old)


def _supervise(pid: int, signals: tuple[signal.Signals, ...],
               forward: typing.Callable[[int], None]) -> int:
    """Reap children until process pid ends, passing signals on to it.

    :returns: its exit status as a shell would give it
    """
    patience: float | None = None
    while True:
        info = (signal.sigwaitinfo(signals) if patience is None
                else signal.sigtimedwait(signals, patience))
        if info is None:
            os.kill(pid, signal.SIGKILL)
            patience = None
        elif info.si_signo != signal.SIGCHLD:
            # The terminal sends its signals to all processes of the group;
            # what runs inside then needs no second one from here.
            if info.si_code != _SI_KERNEL:
                forward(info.si_signo)
            if info.si_signo != signal.SIGINT:
                patience = _GRACE
        else:
            status = _reap(pid)
            if status is not None:
                return status


def _reap(pid: int) -> int | None:
    status = None
    while True:
        try:
            child, raw = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if child == 0:
            return status
        if child == pid:
            code = os.waitstatus_to_exitcode(raw)
            status = code if code >= 0 else 128 - code


def _signal_children(parent: int, number: int) -> None:
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            with open('/proc/%s/stat' % entry) as file:
                fields = file.read().rpartition(')')[2].split()
            if int(fields[1]) == parent:
                os.kill(int(entry), number)
        except OSError:
            continue


def _memory() -> int:
    """Return the machine's memory in KiB, with what it may swap."""
    text = pathlib.Path('/proc/meminfo').read_text()
    sizes = dict(re.findall(r'(\w+): +(\d+) kB', text))
    return int(sizes['MemTotal']) + int(sizes['SwapTotal'])


def _main_inside(command: list[str]) -> int:
    """Prepare the new namespaces, run the command there."""
    subprocess.run(['mount', '-t', 'tmpfs', '-o',
                    'size=%dk,mode=755' % (_memory() * 9 // 10),
                    'lab', '/mnt'], check=True)
    # A new sysfs shows the new namespace's network devices.
    subprocess.run(['mount', '-t', 'sysfs', 'sysfs', '/sys'], check=True)
    temporary = STATE / 'tmp'
    temporary.mkdir(parents=True)
    temporary.chmod(0o1777)
    subprocess.run(['gcc', '-O2', '-shared', '-fPIC', '-o', XSTATE,
                    PROJECT / 'tests/lab/xstate.c'], check=True)
    network.create_bridges()
    _MARK.write_text(os.readlink('/proc/self/ns/pid'))
    os.environ['TMPDIR'] = str(temporary)
    with _blocked_signals() as signals:
        process = subprocess.Popen(command, preexec_fn=_accept_signals)
        # Not by Popen's own method, which would reap it.
        status = _supervise(process.pid, signals,
                            lambda number: os.kill(process.pid, number))
        process.returncode = status
    return status


def _accept_signals() -> None:
    # A shell starts what it runs in the background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main(arguments: list[str]) -> int:
    """The program; see the module's description."""
    if arguments[:1] == [_INSIDE]:
        try:
            return _main_inside(arguments[1:])
        except FileNotFoundError as error:
            print('sandbox: %s' % error, file=sys.stderr)
            return 127
    if arguments[:1] == ['--']:
        arguments = arguments[1:]
    if not arguments:
        print('usage: python -m %s [--] COMMAND...' % __spec__.name,
              file=sys.stderr)
        return 2
    try:
        return run(arguments)
    except errors.SandboxError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
