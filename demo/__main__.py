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

"""``python -m demo [--logs DIRECTORY]``: run the demo, say how it went.

Exits with 0 if everything that must hold does, 1 if not, 130 when it is
interrupted. Everything happens in the lab's sandbox, which ends with this
program; only the image is made outside, once, since that takes the network.
"""

import argparse
import os
import pathlib
import shutil
import signal
import sys
import traceback
import typing

from demo import guest
from demo import progress as progress_module
from demo import report
from demo import results
from demo import scenario
from tests import lab
from tests.lab.controlplane import exception
from tests.lab.controlplane import plane as plane_module
from tests.lab import image
from tests.lab import sandbox

# Parts of the cloud whose start is told, and what they are.
_PARTS = {
    'storage host': 'host for storage up',
    'compute hosts': 'hosts for computing up, with libvirtd',
    'keystone': 'Keystone',
    'glance': 'Glance',
    'placement': 'Placement',
    'nova-api': "Nova's API",
    'cinder-volume ready': 'Cinder, with its volume service',
    'nova-compute ready': 'Nova, with both hosts'}

# Their messages say it all.
_EXPLAINED = (lab.LabError, exception.ControlPlaneError, guest.GuestFailed)


def main() -> int:
    parser = argparse.ArgumentParser(prog='python -m demo', description=(
        'Have Nova boot servers from VMThunder volumes, on real kernels.'))
    parser.add_argument('--logs', type=pathlib.Path, help=(
        'directory to which all logs are copied at the end'))
    arguments = parser.parse_args()
    progress = progress_module.Progress(sys.stdout)
    try:
        if not sandbox.inside():
            _make_image(progress)
            progress.close()
            sandbox.ensure()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: _interrupted(
                progress, number))
        outcome = _run(image.find(), progress, arguments.logs)
    except KeyboardInterrupt:
        _interrupted(progress, signal.SIGINT)
    except Exception as error:
        progress.close()
        if not isinstance(error, _EXPLAINED):
            traceback.print_exc()
        print(f'\nFAILED after {progress.elapsed:.0f} s: {error}')
        return 1
    progress.close()
    return _conclude(outcome, progress.elapsed)


def _make_image(progress: progress_module.Progress) -> None:
    if not image.path().exists():
        with progress.step('image', 'Debian made bootable (once)'):
            image.build()


def _run(file: pathlib.Path, progress: progress_module.Progress,
         logs: pathlib.Path | None) -> results.Outcome:
    with lab.Lab() as cloud:
        plane = plane_module.ControlPlane(
            cloud, [scenario.VOLUME_TYPE], compute=scenario.COMPUTE,
            report=lambda part: _tell(progress, part))
        try:
            with progress.step('cloud', 'ready'):
                plane.__enter__()
            return scenario.Scenario(plane, progress).run(file)
        finally:
            if logs is not None:
                _copy_logs(cloud, logs)
            plane.stop()


def _tell(progress: progress_module.Progress, part: str) -> None:
    if part in _PARTS:
        progress.tell('cloud', _PARTS[part], 'up')


def _copy_logs(cloud: lab.Lab, logs: pathlib.Path) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    cloud.collect_logs(logs)
    shutil.copytree(cloud.state / 'log', logs / 'control-plane',
                    dirs_exist_ok=True)


def _conclude(outcome: results.Outcome, seconds: float) -> int:
    print(f'\n{report.tables(outcome)}\n')
    checks = report.checks(outcome)
    for check in checks:
        print(f'{"  ok  " if check.holds else "FAILED"}  {check.claim}')
        for problem in check.problems:
            print(f'          {problem}')
    good = sum(check.holds for check in checks)
    print(f'\n{"PASSED" if good == len(checks) else "FAILED"}: {good} of '
          f'{len(checks)} checks hold, after {seconds:.0f} s')
    return 0 if good == len(checks) else 1


def _interrupted(progress: progress_module.Progress,
                 number: int) -> typing.NoReturn:
    """End at once: the sandbox takes everything away that was begun."""
    progress.close()
    print('Interrupted; nothing is left behind.', flush=True)
    os._exit(128 + number)


if __name__ == '__main__':
    status = main()
    sys.stdout.flush()
    # After a failure, threads may still wait for what will never come.
    os._exit(status)
