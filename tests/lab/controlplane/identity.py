# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""The cloud's users and catalogue, made through Keystone's own API."""

from collections.abc import Iterable

from keystoneauth1.identity import v3
from keystoneauth1 import session as ks_session
from keystoneclient.v3 import client

from tests.lab.controlplane import empty
from tests.lab.controlplane import openstack
from tests.lab.controlplane import settings

_SERVICES = (
    ('glance', 'image', openstack.GLANCE),
    ('cinder', 'block-storage', openstack.CINDER + '/v3'),
    ('neutron', 'network', empty.NEUTRON),
)
# Where there is no other Nova.
EMPTY_NOVA = (('nova', 'compute', empty.NOVA),)


def admin_session() -> ks_session.Session:
    """A session of the administrator in the project `admin`."""
    session = ks_session.Session(auth=v3.Password(
        openstack.KEYSTONE + '/v3', username='admin',
        password=settings.PASSWORD, project_name='admin',
        user_domain_id='default', project_domain_id='default'))
    # A proxy of the machine's doesn't lead into the lab.
    session.session.trust_env = False
    return session


def create_user(name: str) -> None:
    """Make a user who is no administrator, and a project of that name."""
    keystone = _keystone()
    project = keystone.projects.create(name, 'default')
    user = keystone.users.create(name, password=settings.PASSWORD,
                                 default_project=project)
    (role,) = keystone.roles.list(name='member')
    keystone.roles.grant(role, user=user, project=project)


def cli_environment(name: str = 'admin') -> dict[str, str]:
    """What tells the `openstack` client who asks.

    :param name: the user, and the project.
    """
    return {
        'OS_AUTH_URL': openstack.KEYSTONE + '/v3',
        'OS_IDENTITY_API_VERSION': '3',
        'OS_USERNAME': name,
        'OS_PASSWORD': settings.PASSWORD,
        'OS_PROJECT_NAME': name,
        'OS_USER_DOMAIN_ID': 'default',
        'OS_PROJECT_DOMAIN_ID': 'default',
        'OS_REGION_NAME': settings.REGION,
    }


def register_services(more: Iterable[tuple[str, str, str]]) -> None:
    """Give each service a user of role `service` and an endpoint.

    The role lets them act with a service token, which the deletion of a
    server's attachment asks for.

    :param more: services beside those of every lab: user, type, URL.
    """
    keystone = _keystone()
    project = keystone.projects.create('service', 'default')
    roles = {role.name: role for role in keystone.roles.list()}
    for name, kind, url in (*_SERVICES, *more):
        user = keystone.users.create(
            name, password=settings.PASSWORD, default_project=project)
        for role in ('service', 'admin'):
            keystone.roles.grant(roles[role], user=user, project=project)
        service = keystone.services.create(name, kind)
        for interface in ('public', 'internal'):
            keystone.endpoints.create(
                service, url, interface=interface, region=settings.REGION)


def _keystone() -> client.Client:
    return client.Client(session=admin_session(),
                         endpoint_override=openstack.KEYSTONE + '/v3')
