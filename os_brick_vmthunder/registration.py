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

"""Registration of VMThunder with os-brick, and with Nova's libvirt driver.

os-brick has no plug-in mechanism: the connectors it knows are dotted names in
tables of ``os_brick.initiator.connector``. Installing this package puts a
``.pth`` file beside it, by which every Python process that starts imports
this module and calls :func:`install`. That only adds a finder to the import
system, which waits for the modules of :data:`HOOKS` and extends their tables
right after they were imported; Nova's libvirt driver and
python-brick-cinderclient-ext keep tables of their own. A process that never
imports any of them pays for this small module and nothing else, so it imports
nothing that isn't loaded by then anyway.

``VMTHUNDER_AUTOREGISTER=0`` in the environment switches it off; calling
:func:`register` works either way.
"""

import os
import sys

# typing's own constant would mean importing typing, at five times the cost
# of all of this; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence
    from importlib import machinery
    import types
    from typing import Any

#: Environment variable that switches the automatic registration off.
SWITCH = 'VMTHUNDER_AUTOREGISTER'
_OFF = ('0', 'false', 'no', 'off')

#: os-brick's name of our protocol: ``driver_volume_type`` in upper case.
PROTOCOL = 'VMTHUNDER'
CONNECTOR = ('os_brick_vmthunder.initiator.connectors.vmthunder.'
             'VMThunderConnector')

_BRICK = 'os_brick.initiator.connector'
_MAPPINGS = ('_connector_mapping_linux', '_connector_mapping_linux_s390x',
             '_connector_mapping_linux_ppc64')
_LIST = 'unix_connector_list'

_BRICK_CLIENT = 'brick_cinderclient_ext.volume_actions'

_NOVA = 'nova.virt.libvirt.driver'
_NOVA_DRIVER_MODULE = 'os_brick_vmthunder.nova'
NOVA_DRIVER = f'{_NOVA_DRIVER_MODULE}.LibvirtVMThunderVolumeDriver'


def _add_connector(brick: 'Any') -> None:
    """Add the connector to os-brick's tables; once, however often called.

    :param brick: the imported module ``os_brick.initiator.connector``.
    :raises RuntimeError: if this os-brick has other tables than expected.
    """
    try:
        mappings = [getattr(brick, name) for name in _MAPPINGS]
        connectors = getattr(brick, _LIST)
    except AttributeError as exc:
        raise RuntimeError(
            f'this version of os-brick keeps its connectors elsewhere '
            f'({exc}): install one that the vmthunder package allows') from exc
    for mapping in mappings:
        mapping.setdefault(PROTOCOL, CONNECTOR)
    if CONNECTOR not in connectors:
        connectors.append(CONNECTOR)


def _allow_protocol(actions: 'Any') -> None:
    """Have ``cinder local-attach`` accept the protocol; once.

    It keeps a list of those it knows besides os-brick's tables.

    :param actions: the imported module of python-brick-cinderclient-ext.
    :raises AttributeError: if this version of it has no such list.
    """
    # the misspelling is theirs
    protocols = actions.VerifyProtocol.SUPPORTED_PROCOTOLS
    if PROTOCOL not in protocols:
        protocols.append(PROTOCOL)


def _add_volume_driver(driver: 'Any') -> None:
    """Add the volume driver to the table of Nova's libvirt driver; once.

    Where that fails, this host announces nothing to Cinder that Nova could
    not attach, and gets plain iSCSI volumes.

    :param driver: the imported module ``nova.virt.libvirt.driver``.
    :raises RuntimeError: if this version of Nova isn't as expected.
    """
    try:
        # Nova imports it with the first volume; better to know now.
        __import__(_NOVA_DRIVER_MODULE)
        driver.VOLUME_DRIVERS.setdefault(PROTOCOL.lower(), NOVA_DRIVER)
    except Exception as exc:
        _hide_connector()
        raise RuntimeError(
            f'this version of Nova is none that the vmthunder package works '
            f'with ({exc}): install one that it allows; until then this host '
            f'gets plain iSCSI volumes') from exc


def _hide_connector() -> None:
    """Have os-brick not announce the connector; it still knows it."""
    connectors = getattr(sys.modules.get(_BRICK), _LIST, [])
    if CONNECTOR in connectors:
        connectors.remove(CONNECTOR)


#: What to call, with the module, after a module of that name was imported.
HOOKS: 'Mapping[str, Callable[[Any], None]]' = {
    _BRICK: _add_connector,
    _BRICK_CLIENT: _allow_protocol,
    _NOVA: _add_volume_driver,
}


def register() -> None:
    """Register the connector with os-brick now, importing os-brick.

    For programs that run where the automatic registration can't or shall
    not work. May be called any number of times.

    :raises ImportError: if os-brick isn't installed.
    :raises RuntimeError: if this os-brick has other tables than expected.
    """
    import importlib
    _add_connector(importlib.import_module(_BRICK))


def install() -> None:
    """Arrange for the hooks to run; unless the switch is off.

    Modules that are imported already get their hook at once. Never raises
    because of a hook: a host process must not fail for us.
    """
    if os.environ.get(SWITCH, '').strip().lower() in _OFF:
        return
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name in HOOKS:
        if name in sys.modules:
            _run_hook(sys.modules[name])


def _run_hook(module: 'types.ModuleType') -> None:
    try:
        HOOKS[module.__name__](module)
    except Exception as exc:
        import logging
        logging.getLogger(__name__).error(
            'VMThunder could not register with %s, so vmthunder volumes '
            'cannot be attached by this process: %s. Set %s=0 to not try.',
            module.__name__, exc, SWITCH)


class _Finder:
    """Meta path finder that has a hook run after a module's import."""

    def find_spec(self, name: str, path: 'Sequence[str] | None' = None,
                  target: 'types.ModuleType | None' = None
                  ) -> 'machinery.ModuleSpec | None':
        if name not in HOOKS:
            return None
        spec = self._find_next(name, path, target)
        if hasattr(getattr(spec, 'loader', None), 'exec_module'):
            spec.loader = _Loader(spec.loader)  # type: ignore
        return spec

    def _find_next(self, name: str, path: 'Sequence[str] | None',
                   target: 'types.ModuleType | None'
                   ) -> 'machinery.ModuleSpec | None':
        # Only the finders behind this one: those before it had their turn,
        # and one of them that works like this one may be asking right now.
        position = sys.meta_path.index(self)
        for finder in sys.meta_path[position + 1:]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                return spec
        return None


class _Loader:
    """Stands in for a module's loader until the module is executed."""

    def __init__(self, loader: 'Any') -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> 'Any':
        return getattr(self._loader, name)

    def exec_module(self, module: 'Any') -> None:
        # From here on nothing tells the module from one imported without us.
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _run_hook(module)
