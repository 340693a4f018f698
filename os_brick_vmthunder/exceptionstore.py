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

"""How much room dm-snapshot's persistent exception store takes.

From drivers/md/dm-snap-persistent.c: a header first, then areas; an area is
one chunk of exceptions and the chunks of data they speak of.
"""

from oslo_utils import units

_EXCEPTION = 16
_HEADER_CHUNKS = 1


def store_size(volume_size: int, chunk: int) -> int:
    """Return the bytes in which a snapshot of a whole volume fits.

    :param volume_size: bytes.
    :param chunk: bytes.
    """
    data = -(-volume_size // chunk)
    per_area = chunk // _EXCEPTION
    # The kernel clears the next area as soon as one is full.
    areas = data // per_area + 1
    return (_HEADER_CHUNKS + areas + data) * chunk


def volume_size(store_size: int, chunk: int) -> int:
    """Return the size of the largest volume whose snapshot always fits.

    Volumes are of whole GiB, and what a store is rounded up by is less than
    what another GiB takes: it is the size that the store was made for.

    :param store_size: bytes.
    :param chunk: bytes.
    :returns: bytes, a whole number of GiB; 0 if not even one fits.
    """
    chunks = store_size // chunk - _HEADER_CHUNKS
    if chunks < 1:
        return 0
    areas = chunks // (chunk // _EXCEPTION + 1) + 1
    return (chunks - areas) * chunk // units.Gi * units.Gi
