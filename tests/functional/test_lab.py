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

"""The lab itself, on which all other functional tests stand."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import typing

from tests.functional import base
from tests import lab

_MIB = 1 << 20

_ONE = lab.HostSpec('lab-one', 41, memory=192, disks={'pv': 1 << 30},
                    extra_addresses=(141,))
_TWO = lab.HostSpec('lab-two', 42, memory=192)


class Complaint(Exception):
    def __init__(self, what: str, number: int) -> None:
        super().__init__('%s (%d)' % (what, number))
        self.args = (what, number)


def _add(a: int, b: int = 0) -> int:
    return a + b


def _complain() -> None:
    raise Complaint('too loud', 3)


def _raise_unpicklable() -> None:
    raise ValueError(threading.Lock())


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(status: int) -> None:
    os._exit(status)


def _sleep(seconds: float, mark: str) -> None:
    subprocess.Popen(['sleep', str(seconds)])
    pathlib.Path(mark).write_text(str(os.getpid()))
    time.sleep(seconds)


def _group(number: int) -> list[int]:
    """Processes of a process group."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = path.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[2]) == number and fields[0] != 'Z':
            found.append(int(path.parent.name))
    return found


def _connects(address: str) -> bool:
    """Whether a host answers, if only by refusing the connection."""
    try:
        socket.create_connection((address, 9), 2)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def _modules() -> set[str]:
    return set(sys.modules)


def _processes(text: str) -> list[int]:
    """The machine's processes whose command line has a text in it."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
        try:
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


class LabTestCase(base.FunctionalTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.one = base.get_host(_ONE)

    def test_boots(self) -> None:
        started = time.monotonic()
        host = self.lab.start('lab-quick', 43, memory=192)
        # 3 s, and up to three times that beside another busy lab
        print('A host is up after %.1f s' % (time.monotonic() - started))
        self.assertEqual('lab-quick', host.run('hostname').stdout.strip())
        host.power_off()

    def test_refuses_the_same_address_twice(self) -> None:
        self.assertRaises(lab.LabError, self.lab.start, 'other', 41)
        self.assertNotIn('other', self.lab.hosts)

    def test_is_a_complete_host(self) -> None:
        modules = self.one.run('cat', '/proc/modules').stdout
        for name in ('dm_thin_pool', 'dm_snapshot', 'dm_multipath', 'bcache',
                     'iscsi_tcp', 'iscsi_target_mod', 'loop', 'sd_mod'):
            self.assertIn(name + ' ', modules)
        self.assertIn('/etc/target', self.one.run(
            'cat', '/sys/kernel/config/target/dbroot').stdout)
        self.assertIn(':lab-one', self.one.run(
            'cat', '/etc/iscsi/initiatorname.iscsi').stdout)
        self.assertIn('ok', self.one.run('multipathd', 'reconfigure').stdout)
        self.assertNotIn('line', (
            self.one.logs / 'multipathd.log').read_text())
        self.assertIn('No active sessions', self.one.run(
            'iscsiadm', '-m', 'session', check=False).stderr)
        self.assertIn('10.77.0.141', self.one.run('ip', 'addr').stdout)
        self.assertEqual(str(1 << 30), self.one.run(
            'blockdev', '--getsize64', self.one.disk('pv')).stdout.strip())
        self.assertEqual('root', self.one.run(
            'sudo', '-n', '-u', 'nobody', 'cinder-rootwrap', '/x.conf',
            'whoami').stdout.strip())

    def test_udev_makes_device_nodes(self) -> None:
        self.one.run('dmsetup', 'create', 'lab-node', '--table',
                     '0 8 zero')
        self.addCleanup(self.one.run, 'dmsetup', 'remove', 'lab-node')
        self.one.run('test', '-b', '/dev/mapper/lab-node')

    def test_the_machine_stays_as_it_was(self) -> None:
        self.one.run('touch', '/etc/lab-was-here', '/usr/lab-was-here')
        for path in ('/etc/lab-was-here', '/usr/lab-was-here'):
            self.assertFalse(os.path.exists(path))


class RequestTestCase(base.FunctionalTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.one = base.get_host(_ONE)

    def test_run_returns_status_and_output(self) -> None:
        result = self.one.run('echo out; echo err >&2; exit 3', shell=True,
                              check=False)
        self.assertEqual(lab.Result(3, 'out\n', 'err\n'), result)

    def test_run_checks_the_status(self) -> None:
        with self.assertRaises(lab.CommandFailed) as caught:
            self.one.run('echo no luck >&2; exit 3', shell=True)
        self.assertEqual(3, caught.exception.result.status)
        self.assertIn('no luck', str(caught.exception))

    def test_run_tells_signals(self) -> None:
        self.assertEqual(-9, self.one.run(
            'kill -9 $$', shell=True, check=False).status)

    def test_run_takes_input_and_environment(self) -> None:
        self.assertEqual('hello you', self.one.run(
            'cat; echo -n $WHO', shell=True, input='hello ',
            env={'WHO': 'you'}).stdout)

    def test_run_passes_much_output(self) -> None:
        result = self.one.run('head', '-c', str(8 * _MIB), '/dev/zero')
        self.assertEqual('\0' * (8 * _MIB), result.stdout)

    def test_run_does_not_wait_for_daemons(self) -> None:
        started = time.monotonic()
        result = self.one.run('sleep 30 & echo $!', shell=True)
        self.assertLess(time.monotonic() - started, 10)
        self.one.run('kill', result.stdout.strip())

    def test_run_of_no_such_program(self) -> None:
        self.assertRaises(FileNotFoundError, self.one.run, 'no-such-thing')

    def test_call_returns_the_value(self) -> None:
        self.assertEqual(5, self.one.call(_add, 2, b=3))

    def test_call_raises_what_the_function_raised(self) -> None:
        with self.assertRaises(Complaint) as caught:
            self.one.call(_complain)
        self.assertEqual(('too loud', 3), caught.exception.args)
        self.assertIn('_complain', str(caught.exception.__cause__))

    def test_call_raises_what_cannot_be_sent(self) -> None:
        with self.assertRaises(lab.RemoteError) as caught:
            self.one.call(_raise_unpicklable)
        self.assertIn('_raise_unpicklable', str(caught.exception))

    def test_call_killed(self) -> None:
        with self.assertRaises(lab.CallKilled) as caught:
            self.one.call(_kill_self)
        self.assertEqual(signal.SIGKILL, caught.exception.signal)

    def test_call_exited(self) -> None:
        with self.assertRaises(lab.CallExited) as caught:
            self.one.call(_exit, 7)
        self.assertEqual(7, caught.exception.status)

    def test_timeout_kills_the_process_group(self) -> None:
        mark = '/run/lab-sleeper'
        self.assertRaises(lab.RequestTimeout, self.one.call, _sleep, 60,
                          mark, timeout=2)
        group = int(self.one.run('cat', mark).stdout)
        self.assertEqual([], self.one.call(_group, group))
        with self.assertRaisesRegex(lab.RequestTimeout, 'S sleep 4712: .'):
            self.one.run('sleep', '4712', timeout=2)
        self.assertEqual(1, self.one.run(
            'pgrep', '-f', 'sleep 4712', check=False).status)

    def test_requests_of_many_threads(self) -> None:
        values: dict[int, int] = {}

        def ask(number: int) -> None:
            values[number] = self.one.call(_add, number, 1)

        threads = [threading.Thread(target=ask, args=(number,))
                   for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({number: number + 1 for number in range(10)},
                         values)

    def test_a_long_request_does_not_hold_up_another(self) -> None:
        process = self.one.spawn('sleep', '60')
        thread = threading.Thread(target=process.wait)
        thread.start()
        self.assertEqual(3, self.one.call(_add, 3))
        self.assertTrue(process.alive)
        process.kill()
        thread.join()
        self.assertEqual(-9, process.wait())
        self.assertFalse(process.alive)

    def test_spawn_logs(self) -> None:
        process = self.one.spawn('sh', '-c', 'echo $WHAT', env={'WHAT': 'x'})
        self.assertEqual(0, process.wait())
        self.assertEqual('x\n', process.log.read_text())

    def test_preload(self) -> None:
        self.assertNotIn('decimal', self.one.call(_modules))
        self.one.preload('decimal')
        self.assertIn('decimal', self.one.call(_modules))
        self.assertRaises(ModuleNotFoundError, self.one.preload,
                          'no_such_module')


class PowerTestCase(base.FunctionalTestCase):
    def test_disks_survive_a_power_cut(self) -> None:
        host = base.get_host(_ONE)
        disk = host.disk('pv')
        process = host.spawn('sleep', '600')
        host.run('echo kept > /etc/lab-kept; echo gone > /run/lab-gone; '
                 'mkdir -p /var/lib/lab; echo kept > /var/lib/lab/kept; '
                 'echo kept | dd of=%s; sync' % disk, shell=True)
        host.power_off()
        self.assertFalse(host.alive)
        self.assertFalse(process.alive)
        self.assertRaises(lab.HostDown, host.run, 'true')
        host.power_on()
        self.assertEqual('kept\nkept\n', host.run(
            'cat', '/etc/lab-kept', '/var/lib/lab/kept').stdout)
        self.assertEqual('kept\n', host.run('head', '-n1', disk).stdout)
        self.assertEqual(1, host.run('test', '-e', '/run/lab-gone',
                                     check=False).status)
        self.assertFalse(process.alive)

    def test_power_cut_ends_requests(self) -> None:
        host = base.get_host(_ONE)
        timer = threading.Timer(1, host.power_off)
        timer.start()
        self.assertRaises(lab.HostDown, host.run, 'sleep', '60')
        timer.join()
        host.power_on()

    def test_preloaded_modules_are_back_after_a_power_cut(self) -> None:
        host = base.get_host(_ONE)
        host.preload('colorsys')
        host.power_off()
        host.power_on()
        self.assertIn('colorsys', host.call(_modules))


class NetworkTestCase(base.FunctionalTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.one = base.get_host(_ONE)
        self.two = base.get_host(_TWO)

    def _transfer(self, sender: lab.Host, receiver: lab.Host,
                  size: int) -> float:
        """Send some bytes over the data network; return seconds taken."""
        server = receiver.spawn(
            sys.executable, '-c', textwrap.dedent('''
                import socket
                server = socket.create_server(('%s', 5001))
                print('ready', flush=True)
                connection, _ = server.accept()
                while connection.recv(1 << 20):
                    pass
                ''') % receiver.address)
        self.addCleanup(server.kill)
        while 'ready' not in server.log.read_text():
            time.sleep(0.05)
        started = time.monotonic()
        sender.run(sys.executable, '-c', textwrap.dedent('''
            import socket
            client = socket.create_connection(('%s', 5001))
            client.sendall(bytes(%d))
            client.shutdown(socket.SHUT_WR)
            client.recv(1)
            ''') % (receiver.address, size))
        self.assertEqual(0, server.wait())
        return time.monotonic() - started

    def _reaches(self, target: str) -> bool:
        return self.one.call(_connects, target)

    def test_cut_leaves_management_alone(self) -> None:
        self.assertTrue(self._reaches(self.two.address))
        self.one.network.cut()
        try:
            self.assertFalse(self._reaches(self.two.address))
            self.assertFalse(self._reaches('10.77.0.1'))
            self.assertTrue(self._reaches(self.two.management))
        finally:
            self.one.network.restore()
        self.assertTrue(self._reaches(self.two.address))

    def test_shape_limits_both_directions(self) -> None:
        # 67 Mbit, so 3.4 s, less what the bucket lets pass at once.
        size, shaped = 8 * _MIB, 2.8
        self.assertLess(self._fastest(size), shaped)
        self.one.network.shape(mbit=20)
        try:
            for pair in ((self.one, self.two), (self.two, self.one)):
                self.assertGreater(self._transfer(*pair, size), shaped)
        finally:
            self.one.network.shape(None)
        self.assertLess(self._fastest(size), shaped)

    def _fastest(self, size: int) -> float:
        """Return the best of some tries, on a machine that may be busy."""
        return min(self._transfer(self.one, self.two, size)
                   for _attempt in range(4))

    def test_shape_outlives_a_power_cut(self) -> None:
        self.one.network.shape(mbit=20)
        try:
            self.one.power_off()
            self.one.power_on()
            self.assertGreater(
                self._transfer(self.one, self.two, 8 * _MIB), 2.8)
        finally:
            self.one.network.shape(None)

    def test_counters_count_each_direction(self) -> None:
        size = 8 * _MIB
        before = self.one.network.counters(), self.two.network.counters()
        self._transfer(self.one, self.two, size)
        one = self.one.network.counters() - before[0]
        two = self.two.network.counters() - before[1]
        for many in (one.tx_bytes, two.rx_bytes):
            self.assertGreater(many, size)
            self.assertLess(many, size * 1.1)
        for few in (one.rx_bytes, two.tx_bytes):
            self.assertLess(few, size * 0.1)


class SandboxTestCase(base.FunctionalTestCase):
    """Sandboxes of their own, inside of this one."""

    _COMMAND = (sys.executable, '-m', 'tests.lab.sandbox', '--')

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._COMMAND, *command], text=True,
                              capture_output=True, timeout=60)

    def test_passes_status_and_output(self) -> None:
        done = self._run('sh', '-c', 'echo out; echo err >&2; exit 5')
        self.assertEqual((5, 'out\n', 'err\n'),
                         (done.returncode, done.stdout, done.stderr))
        self.assertEqual(137, self._run(
            'sh', '-c', 'kill -9 $$').returncode)
        self.assertEqual(127, self._run('no-such-program').returncode)

    def test_ends_with_its_command(self) -> None:
        done = self._run('sh', '-c', 'sleep 4711 & mount | grep " /mnt "; '
                         'touch /mnt/lab/from-nested')
        self.assertIn('tmpfs', done.stdout)
        self.assertEqual([], _processes('4711'))
        self.assertFalse((self.lab.state / 'from-nested').exists())

    def test_says_what_is_missing(self) -> None:
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(
                [*self._COMMAND, 'true'], text=True, capture_output=True,
                env={**os.environ, 'PATH': empty})
        self.assertEqual(1, done.returncode)
        self.assertIn('user-mode-linux', done.stderr)

    def _start_nested_lab(self, name: str) -> subprocess.Popen[str]:
        script = textwrap.dedent('''
            import sys, time
            from tests.lab import Lab
            with Lab() as lab:
                try:
                    lab.start(sys.argv[1], 44, memory=192)
                    print('up', flush=True)
                    time.sleep(600)
                finally:
                    print('cleaned', flush=True)
            ''')
        process = subprocess.Popen(
            [*self._COMMAND, sys.executable, '-c', script, name],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(process.kill)
        stdout = typing.cast(typing.TextIO, process.stdout)
        self.addCleanup(stdout.close)
        self.assertEqual('up\n', stdout.readline())
        self.assertNotEqual([], _processes(name))
        return process

    def _assert_gone(self, name: str) -> None:
        deadline = time.monotonic() + 5
        while _processes(name) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual([], _processes(name))

    def test_nothing_is_left_after_kill(self) -> None:
        process = self._start_nested_lab('lab-nested-kill')
        process.kill()
        process.wait()
        self._assert_gone('lab-nested-kill')

    def test_interrupt_lets_the_command_end_itself(self) -> None:
        process = self._start_nested_lab('lab-nested-int')
        process.send_signal(signal.SIGINT)
        stdout = typing.cast(typing.TextIO, process.stdout)
        self.assertEqual('cleaned\n', stdout.readline())
        self.assertEqual(130, process.wait(30))
        self._assert_gone('lab-nested-int')

    def test_closing_a_lab_leaves_no_process(self) -> None:
        script = textwrap.dedent('''
            import os, subprocess
            from tests.lab import Lab
            with Lab() as lab:
                lab.start('lab-nested-close', 44, memory=192)
            subprocess.run('ps -eo args; ls /sys/class/net /mnt/lab/hosts',
                           shell=True)
            ''')
        done = self._run(sys.executable, '-c', script)
        self.assertIn('tests.lab.sandbox', done.stdout)
        self.assertNotIn('linux.uml', done.stdout)
        self.assertNotIn('data44', done.stdout)
        self.assertIn("'/mnt/lab/hosts': No such file", done.stderr)

    def test_a_lab_that_was_killed_is_cleaned_up_by_the_next(self) -> None:
        script = textwrap.dedent('''
            import os, signal, sys
            from tests.lab import Lab
            lab = Lab().__enter__()
            lab.start('lab-nested-again', 44, memory=192)
            if len(sys.argv) > 1:
                os.kill(os.getpid(), signal.SIGKILL)
            print('twice')
            ''')
        done = self._run('sh', '-c', '%s -c "$1" die; %s -c "$1"' % (
            sys.executable, sys.executable), 'sh', script)
        self.assertEqual('twice\n', done.stdout.replace('Killed\n', ''))
