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

"""Nova and Neutron with nothing in them.

Cinder asks Nova before it lets anybody else end an attachment that names a
server, as every attachment of `cinder local-attach` does. Tempest asks Neutron
for what a project that it deletes might have left there. Nova, where it runs,
asks Neutron for the ports of servers that have none.

A process of its own: what oslo imports may turn the server's threads and
locks into eventlet's, and then requests hang.
"""

import http.server
import json
import pathlib
import sys
import urllib.parse

from tests.lab.controlplane import processes
from tests.lab.controlplane import settings

_PORT = 9696
NEUTRON = 'http://%s:%d' % (settings.MACHINE, _PORT)
NOVA = NEUTRON + '/v2.1'


class _Handler(http.server.BaseHTTPRequestHandler):

    def do_GET(self) -> None:
        path = pathlib.PurePosixPath(urllib.parse.urlsplit(self.path).path)
        if path.parent.name != 'v2.0':
            self.send_error(404)
            return
        body = json.dumps({path.name.replace('-', '_'): []}).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def start(services: processes.Services) -> None:
    """Start it and wait until it answers."""
    daemon = services.start('empty', [sys.executable, '-m', __name__])
    daemon.wait_ready(lambda: processes.speaks(
        settings.MACHINE, _PORT, b'GET / HTTP/1.0\r\n\r\n'))


if __name__ == '__main__':
    http.server.ThreadingHTTPServer(
        (settings.MACHINE, _PORT), _Handler).serve_forever()
