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

"""dmsetup, one process for each action."""

from oslo_concurrency import processutils

from os_brick_vmthunder import privileged


def _dmsetup(*arguments: str, lines: str | None = None) -> str:
    return processutils.execute('dmsetup', *arguments,
                                process_input=lines)[0]


@privileged.default.entrypoint
def create(name: str, uuid: str, table: str, readonly: bool) -> None:
    """Create a device with a table and let it work."""
    options = ['--readonly'] if readonly else []
    _dmsetup('create', name, '--uuid', uuid, *options, lines=table)


@privileged.default.entrypoint
def load(name: str, table: str, readonly: bool) -> None:
    """Give a device a table that is used once it is resumed."""
    options = ['--readonly'] if readonly else []
    _dmsetup('load', name, *options, lines=table)


@privileged.default.entrypoint
def resume(name: str) -> None:
    """Let a device work, by the table that was loaded if there is one.

    Tables are swapped in one call to the kernel. Nothing is flushed for it:
    a multipath map fails what finds no path while it is being flushed.
    """
    _dmsetup('resume', '--noflush', name)


@privileged.default.entrypoint
def suspend(name: str) -> None:
    """Let no request pass any more; those under way end first."""
    _dmsetup('suspend', '--nolockfs', name)


@privileged.default.entrypoint
def clear(name: str) -> None:
    """Forget a table that was loaded and isn't used yet, if there is one."""
    _dmsetup('clear', name)


@privileged.default.entrypoint
def remove(name: str) -> None:
    """Remove a device; udev's short looks at it are waited for."""
    _dmsetup('remove', '--retry', name)


@privileged.default.entrypoint
def table(name: str) -> str:
    """Return a device's live table."""
    return _dmsetup('table', name)


@privileged.default.entrypoint
def status(name: str) -> str:
    """Return what a device's targets report; nothing is flushed for it."""
    return _dmsetup('status', '--noflush', name)


@privileged.default.entrypoint
def settle(name: str) -> None:
    """Have a device's targets write what they know only in memory."""
    _dmsetup('status', name)


@privileged.default.entrypoint
def message(name: str, text: str) -> str:
    """Tell a device something, and return what it answers."""
    return _dmsetup('message', name, '0', text)
