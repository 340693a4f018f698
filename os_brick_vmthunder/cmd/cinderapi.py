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

"""As much of Cinder's API as the commands use."""

from typing import Any, Iterator

from os_brick_vmthunder import exception
from os_brick_vmthunder.i18n import _

_MICROVERSION = '3.27'  # the first with attachments


class Cinder:
    """Cinder, as an administrator sees it.

    :param client: a keystoneauth adapter for the block storage service.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def attachments(self) -> Iterator[dict[str, Any]]:
        """Return all attachments of all projects, with connection_info."""
        return self._list('attachments', '/attachments/detail')

    def volumes(self, **filters: str) -> set[str]:
        """Return the ids of all projects' volumes that pass filters."""
        return {volume['id'] for volume in
                self._list('volumes', '/volumes', **filters)}

    def _list(self, kind: str, path: str,
              **filters: str) -> Iterator[dict[str, Any]]:
        # Cinder answers at most so many at once, as it is configured.
        marker: dict[str, str] = {}
        while True:
            page = self._get(path, {'all_tenants': '1', **filters,
                                    **marker}).get(kind, [])
            yield from page
            if not page:
                return
            marker = {'marker': page[-1]['id']}

    def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        from keystoneauth1 import exceptions
        from openstack import exceptions as sdk_exceptions
        try:
            return self._client.get(path, params=query,
                                    microversion=_MICROVERSION,
                                    raise_exc=True).json()
        except (exceptions.ClientException, sdk_exceptions.SDKException,
                ValueError) as error:
            raise exception.CinderUnavailable(reason=str(error)) from error


def connect() -> Cinder:
    """Return Cinder, as OS_* in the environment or clouds.yaml say.

    :raises CinderUnavailable: a package is missing, or nothing says which.
    """
    try:
        from keystoneauth1 import exceptions
        import openstack
        from openstack import exceptions as sdk_exceptions
    except ImportError as error:
        raise exception.CinderUnavailable(reason=_(
            'the Python package openstacksdk is not installed; install '
            'it.')) from error
    try:
        return Cinder(openstack.connect().block_storage)
    except (exceptions.ClientException,
            sdk_exceptions.SDKException) as error:
        raise exception.CinderUnavailable(reason=_(
            '%s. Set OS_CLOUD, or OS_AUTH_URL and what belongs to '
            'it.') % str(error).rstrip('.')) from error
