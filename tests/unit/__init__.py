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


import logging
import os

import hypothesis

from tests.unit import leaps

# What code under test logs belongs to no one's terminal.
logging.getLogger().addHandler(logging.NullHandler())

# How long an example takes is up to the machine.
hypothesis.settings.register_profile(
    'unit', deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile('unit')

if 'VMTHUNDER_LEAPS' in os.environ:
    leaps.use(float(os.environ['VMTHUNDER_LEAPS']))
