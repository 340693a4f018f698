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

"""Sends a file to whoever connects; runs on the storage host.

    python -m tests.bench.storm.imageserver FILE PORT

Only the standard library is used, so that it is there at once.
"""

import socketserver
import sys

READY = 'ready'


class _Sender(socketserver.BaseRequestHandler):

    def handle(self) -> None:
        with open(sys.argv[1], 'rb') as file:
            self.request.sendfile(file)


class _Server(socketserver.ThreadingTCPServer):

    allow_reuse_address = True
    request_queue_size = 256


def main() -> None:
    """Serve until killed."""
    with _Server(('', int(sys.argv[2])), _Sender) as server:
        print(READY, flush=True)
        server.serve_forever()


if __name__ == '__main__':
    main()
