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

"""Cinder's own database code over SQLite in memory."""

import uuid

from cinder import context
from cinder.db import api as db_api
from cinder.db import models
from cinder import objects
from oslo_db.sqlalchemy import enginefacade
from oslo_serialization import jsonutils
import sqlalchemy

objects.register_all()

HOST = 'host@backend#pool'
_LOCK_SECONDS = 60


def set_up(test, directory=None):
    """Give a test an empty database.

    :param directory: for one that threads share.
    """
    manager = enginefacade.transaction_context()
    manager.configure(connection='sqlite://' + (
        f'/{directory}/db?timeout={_LOCK_SECONDS}' if directory else ''))
    test.addCleanup(db_api.main_context_manager.patch_factory(manager))
    engine = manager.writer.get_engine()
    if directory:
        sqlalchemy.event.listen(engine, 'before_cursor_execute',
                                _begin_as_writer, retval=True)
    models.BASE.metadata.create_all(engine)


def _begin_as_writer(connection, cursor, statement, *rest):
    """Have a transaction wait for others' writes when it begins.

    One that reads first and writes then is refused if another wrote meanwhile.
    """
    return statement + ' IMMEDIATE' * (statement == 'BEGIN'), rest[0]


def add(*rows):
    with db_api.main_context_manager.writer.using(admin()) as session:
        session.add_all(rows)
    return [row.id for row in rows]


def admin():
    return context.get_admin_context()


def volume(volume_id=None, **values):
    """Make a volume; return it as Cinder hands it to the driver."""
    add(models.Volume(**{
        'id': volume_id or str(uuid.uuid4()), 'host': HOST, 'size': 2,
        'status': 'reserved', 'volume_type_id': str(uuid.uuid4()),
        'multiattach': False, 'deleted': False, **values}))
    return objects.Volume.get_by_id(admin(), volume_id)


def reserve(volume_id, **values):
    """Make an attachment as ``attachment_create()`` does; return its id."""
    return add(models.VolumeAttachment(**{
        'id': str(uuid.uuid4()), 'volume_id': volume_id,
        'attach_status': 'reserved', 'deleted': False, **values}))[0]


def attachment(attachment_id):
    return objects.VolumeAttachment.get_by_id(admin(), attachment_id)


class Cinder:
    """What Cinder's API and manager do of an attachment.

    :param driver: a function that returns it.
    """

    def __init__(self, driver):
        self._driver = driver

    def attach(self, volume_id, attachment_id, connector):
        """Update an attachment; return the connection."""
        row = objects.Volume.get_by_id(admin(), volume_id)
        driver = self._driver()
        update = driver.create_export(admin(), row, connector)
        row.update(update)
        row.save()
        try:
            info = driver.initialize_connection(row, connector)
        except Exception:
            driver.remove_export(admin(), row)
            raise
        info = {**info['data'], 'encrypted': False,
                'driver_volume_type': info['driver_volume_type']}
        db_api.volume_attachment_update(
            admin(), attachment_id,
            {'volume_id': volume_id, 'attach_status': 'attaching',
             'connector': jsonutils.dumps(connector)})
        info.update(attachment_id=attachment_id, enforce_multipath=False)
        db_api.volume_attached(
            admin(), attachment_id, attachment(attachment_id).instance_uuid,
            connector['host'], 'na', 'rw', False)
        saved = attachment(attachment_id)
        saved.connection_info = info
        saved.save()
        return info

    def complete(self, attachment_id):
        """Say that the host has connected the volume."""
        row = attachment(attachment_id)
        row.attach_status = 'attached'
        row.save()
        volume = row.volume
        volume.update({'status': 'in-use', 'attach_status': 'attached'})
        volume.save()

    def detach(self, attachment_id):
        row = attachment(attachment_id)
        driver = self._driver()
        if not driver.terminate_connection(row.volume, row.connector):
            driver.remove_export(admin(), row.volume)
        volume = objects.Volume.get_by_id(admin(), row.volume_id)
        volume.finish_detach(attachment_id)
