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

"""What a compute host does for its guests; all runs there.

As :mod:`tests.lab.brick`, but with os-brick's connectors themselves, not by
its factory, whose imports alone take as much memory as all the rest.
"""

import dataclasses
import glob
import os
import pathlib
import re
import socket
import subprocess
import threading
import time
import typing
from unittest import mock
import warnings

from tests.bench.storm import replay

#: Import these into a host's worker, in this order.
MODULES = ('tests.bench.storm.lean', 'tests.bench.storm.onhost',
           'tests.bench.storm.replay',
           'os_brick_vmthunder.initiator.connectors.vmthunder',
           'os_brick_vmthunder.agentprefetch',
           'rtslib_fb', 'os_brick_vmthunder.privileged.lio')

_LOCKS = pathlib.Path('/run/lock/os-brick')
_CONFIGURATION = pathlib.Path('/etc/vmthunder/vmthunder.conf')
_COPY = pathlib.Path('/var/lib/storm')
_INITIATOR = pathlib.Path('/etc/iscsi/initiatorname.iscsi')
_ISCSID = pathlib.Path('/etc/iscsi/iscsid.conf')
_NOOP = re.compile(r'(noop_out_\w+ = )(\d+)')
# What VMThunder's udev rules say of a relay's disk.
_RELAY_SECONDS = 4
_RELAY, _TEMPLATE = 'relay', 'template'
# How often the agent's recorder looks.
_LOOK_SECONDS = 0.5
# How long a boot may take that is recorded, and how long fetching.
_RECORD_SECONDS, _FETCH_SECONDS = 300, 3600

Properties = dict[str, typing.Any]


def configure(**options: typing.Any) -> None:
    """Write this host's settings."""
    _CONFIGURATION.parent.mkdir(exist_ok=True)
    _CONFIGURATION.write_text('[DEFAULT]\n' + ''.join(
        f'{name} = {value}\n' for name, value in options.items()))


def be_patient(patience: int) -> None:
    """Have iSCSI take a path for dead later, from its next login on.

    To be called once.

    :param patience: after how many times as long as usual.
    """
    _ISCSID.write_text(_NOOP.sub(
        lambda match: f'{match[1]}{int(match[2]) * patience}',
        _ISCSID.read_text()))


def make_cache(**options: typing.Any) -> None:
    """Write this host's settings and make its cache.

    To be called first of all: the kernel needs memory in large pieces for it,
    which later a host of little memory no longer has.
    """
    configure(**options)
    _prepare()
    from os_brick_vmthunder.caches import bcacheset
    from os_brick_vmthunder import conf

    bcacheset.CacheSet(conf.load()).ensure()


def properties(address: str) -> Properties:
    """Return what Cinder has to know about this host."""
    _prepare()
    from os_brick_vmthunder.initiator.connectors import vmthunder

    return {'ip': address, 'host': socket.gethostname(), 'multipath': True,
            'enforce_multipath': True, 'os_type': 'linux',
            'platform': 'x86_64',
            'initiator': _INITIATOR.read_text().strip().partition('=')[2],
            **vmthunder.VMThunderConnector.get_connector_properties('sudo')}


def connect(info: Properties, patience: int = 1) -> str:
    """Attach a volume and return its device.

    :param patience: how many times as long as usual a path to a relay may
        give no answer until it is taken for dead; for others see
        :func:`be_patient`.
    """
    from os_brick_vmthunder import nodes

    with mock.patch.object(nodes, 'RELAY_SETTINGS', {
            name: str(int(value) * patience) if 'timeo' in name else value
            for name, value in nodes.RELAY_SETTINGS.items()}):
        path = _connector(info).connect_volume(info['data'])['path']
    for disk in pathlib.Path('/sys/block').glob('sd*/device'):
        if (disk / 'model').read_text().strip() == _RELAY:
            (disk / 'timeout').write_text(str(_RELAY_SECONDS * patience))
    return str(path)


def disconnect(info: Properties, path: str) -> None:
    """Detach a volume."""
    _connector(info).disconnect_volume(info['data'],
                                       {'type': 'block', 'path': path})


def record(info: Properties, plan: str, interval: float) -> None:
    """Attach, boot once while the agent's recorder watches, and detach.

    The template is not in this host's cache then, and Cinder hears of what
    was read with the next properties of this host.

    :raises TimeoutError: nothing was recorded.
    """
    _prepare()
    from os_brick_vmthunder import agentrecorder
    from os_brick_vmthunder import caches
    from os_brick_vmthunder import conf
    from os_brick_vmthunder import hostprofiles

    template_id = info['data']['template']['id']
    watcher = agentrecorder.Recorder()
    watcher.look()
    path = connect(info)
    watcher.look()
    begin = time.time()
    guest = threading.Thread(target=replay.follow, daemon=True,
                             args=(path, plan, begin, interval))
    guest.start()
    while not hostprofiles.recorded.read(template_id):
        if time.time() - begin > _RECORD_SECONDS:
            raise TimeoutError(f'no boot of {path} was recorded')
        time.sleep(_LOOK_SECONDS)
        watcher.look()
    guest.join()
    disconnect(info, path)
    caches.create(conf.load()).forget(template_id)


def fetch(begin: float) -> None:
    """Fetch ahead of the guest from a given moment on, as the agent does.

    :raises TimeoutError: it doesn't come to its end.
    """
    _prepare()
    from os_brick_vmthunder import agentprefetch
    from os_brick_vmthunder import caches
    from os_brick_vmthunder import conf
    from os_brick_vmthunder import hostprofiles

    config = conf.load()
    fetcher = agentprefetch.Prefetcher(caches.create(config),
                                       config.prefetch)
    time.sleep(max(0.0, begin - time.time()))
    fetcher.look()
    while not all(there and there.is_over for there in map(
            hostprofiles.progress.read, dict(hostprofiles.foretold.all()))):
        if time.time() - begin > _FETCH_SECONDS:
            raise TimeoutError('what was foretold was not fetched')
        time.sleep(1)


def read_bytes() -> dict[str, int]:
    """Return what was read of remote disks, by what these are.

    :returns: bytes read of 'relay' and 'template' disks, and of 'other' ones.
    """
    read = {_RELAY: 0, _TEMPLATE: 0, 'other': 0}
    for path in map(pathlib.Path, glob.glob('/sys/block/sd*')):
        model = (path / 'device/model').read_text().strip()
        count = int((path / 'stat').read_text().split()[2]) * 512
        read[model if model in read else 'other'] += count
    return read


def cache_writes() -> tuple[int, float]:
    """Return how many writes its cache's device has done, and their seconds.

    Those that were under way at the same time are added up.
    """
    count, seconds = 0, 0.0
    for path in glob.glob('/sys/fs/bcache/*/cache0/../stat'):
        fields = pathlib.Path(path).read_text().split()
        count += int(fields[4])
        seconds += int(fields[7]) / 1000
    return count, seconds


def copy(address: str, port: int, extents: typing.Sequence[tuple[int, int]],
         size: int) -> str:
    """Fetch a whole image from the storage host; return the local file.

    :param extents: offsets and lengths of what comes first; what comes then
        is only kept.
    :param size: of the disk in bytes.
    """
    _COPY.mkdir(exist_ok=True)
    path = _COPY / 'disk'
    with socket.create_connection((address, port)) as server, \
            server.makefile('rb') as stream, open(path, 'wb') as file:
        file.truncate(size)
        for offset, length in extents:
            data = stream.read(length)
            if len(data) != length:
                raise EOFError(f'{address} sent too little')
            file.seek(offset)
            file.write(data)
        file.seek(size)
        while data := stream.read(1 << 20):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return str(path)


def copy_and_boot(address: str, port: int,
                  extents: typing.Sequence[tuple[int, int]], size: int,
                  plan: str, begin: float, interval: float
                  ) -> replay.Outcome:
    """Copy a whole image at a given moment, and boot from it then.

    :returns: what became of both; the time begins with copying.
    """
    time.sleep(max(0.0, begin - time.time()))
    late = time.time() - begin
    path = copy(address, port, extents, size)
    booted = replay.follow(path, plan, begin, interval)
    return dataclasses.replace(booted, late=round(late, 3))


def forget_copy() -> None:
    (_COPY / 'disk').unlink()


def state() -> str:
    """Say how a host stands, for a report of what went wrong."""
    return subprocess.run('multipath -ll; dmsetup table; free -m; dmesg | '
                          'tail -20', shell=True, capture_output=True,
                          text=True).stdout


def _connector(info: Properties) -> typing.Any:
    _prepare()
    from os_brick.initiator.connectors import iscsi
    from os_brick_vmthunder.initiator.connectors import vmthunder

    if info['driver_volume_type'] == 'vmthunder':
        return vmthunder.VMThunderConnector('sudo')
    return iscsi.ISCSIConnector('sudo', use_multipath=True)


def _prepare() -> None:
    """Set os-brick up to run as root, in this process."""
    import os_brick
    from os_brick import privileged
    from os_brick_vmthunder import privileged as vmthunder_privileged
    from oslo_concurrency import lockutils
    from oslo_config import cfg

    from tests.lab import cheapforks

    warnings.simplefilter('ignore')
    cheapforks.use()
    _LOCKS.mkdir(parents=True, exist_ok=True)
    cfg.CONF([], project='lab', default_config_files=[])
    lockutils.set_defaults(str(_LOCKS))
    os_brick.setup(cfg.CONF)
    for context in (privileged.default, privileged.brick_privsep_hide_output,
                    vmthunder_privileged.default):
        context.set_client_mode(False)
