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


"""Small files below /run."""

import contextlib
import os

from os_brick_vmthunder import privileged


@privileged.default.entrypoint
def write(path: str, text: str) -> None:
    """Make a file that everybody may read, and its directory."""
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    with open(path, 'w') as file:
        file.write(text)


@privileged.default.entrypoint
def remove(path: str) -> None:
    """Remove a file; it is all right if it isn't there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
