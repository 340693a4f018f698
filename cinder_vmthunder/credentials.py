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

"""Credentials of templates, kept in Cinder's database.

Every process of the backend must hand out the same one, before and after a
restart. Inserting is atomic: who comes second takes what the first wrote.
"""

from typing import Any

from cinder.volume import driver_utils
from cinder.volume import volume_utils
from os_brick_vmthunder import connection

_NAMESPACE = 'vmthunder'
_KEY = 'chap'


class Credentials:
    """Credentials by template.

    :param db: Cinder's database API.
    """

    def __init__(self, db: Any) -> None:
        # The driver's own instance is named after an option that is free to
        # change.
        self._data = driver_utils.VolumeDriverUtils(_NAMESPACE, db)

    def get(self, template_id: str) -> connection.Chap:
        """Return a template's credentials; make them if there are none."""
        owner = f'template:{template_id}'
        found = self._read(owner)
        if not found:
            self._data.insert_driver_initiator_data(
                owner, _KEY, f'{volume_utils.generate_username()} '
                             f'{volume_utils.generate_password()}')
            found = self._read(owner)
        return connection.Chap(*found.split(' '))

    def _read(self, owner: str) -> str:
        for row in self._data.get_driver_initiator_data(owner):
            if row['key'] == _KEY:
                return row['value']
        return ''
