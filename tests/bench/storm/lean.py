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

"""Import this first on a host that has little memory.

oslo.privsep imports eventlet if it is installed, only to find out whether
anything uses it. Nothing does here, and it is half of what would be
imported: 20 MB and seconds of every host.
"""

import sys

sys.modules.setdefault('eventlet', None)  # type: ignore[arg-type]
