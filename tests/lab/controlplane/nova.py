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

"""A Nova without servers.

Cinder asks Nova before it lets anybody else end an attachment that names a
server, as every attachment of `cinder local-attach` does.
"""

import http.server
import threading

from tests.lab.controlplane import settings

_PORT = 8774
URL = 'http://%s:%d/v2.1' % (settings.MACHINE, _PORT)


class _Handler(http.server.BaseHTTPRequestHandler):

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Nova:
    """Answers in this process until it is stopped."""

    def __init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer(
            (settings.MACHINE, _PORT), _Handler)
        threading.Thread(
            target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
