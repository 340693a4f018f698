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

"""How much room a qcow2 overlay takes.

From QEMU's docs/interop/qcow2.txt: a header; tables of two levels that say
where each cluster is; and counts of how often each cluster of the file is
used, in tables of two levels too. With extended entries a cluster has 32
parts, and only those that are written to are copied.
"""

import bisect

from oslo_utils import units

#: Bytes of a cluster of the overlays that we make. Its parts are of 4 KiB, as
#: what most guests write, and then nothing is copied at all.
CLUSTER = 128 * units.Ki

#: Options of an overlay, as qemu-img takes them.
OPTIONS = f'cluster_size={CLUSTER},extended_l2=on'

_ENTRY = 16  # of the lower table of places, extended
_COUNT = 2
_UPPER_ENTRY = 8  # of either upper table
_HEADER_CLUSTERS = 1
# An upper table that grows is copied to another place, and that may be half
# as large again as it need be.
_COPIES = 3
# A crash leaks what was taken since the guest's last flush; that is taken
# back when the volume is exported the next time. One in so many.
_LEAKED = 64


def store_size(volume_size: int, cluster: int) -> int:
    """Return the bytes in which the overlay of a whole volume fits.

    :param volume_size: bytes.
    :param cluster: bytes.
    """
    data = -(-volume_size // cluster)
    places = _tables(-(-data * _ENTRY // cluster), cluster)
    used = _HEADER_CLUSTERS + data + places + -(-data // _LEAKED)
    # Each counts itself too, and what names it above.
    counts = -(-used // (cluster // _COUNT - 2)) + 1
    return (used + _tables(counts, cluster)) * cluster


def volume_size(store: int, cluster: int) -> int:
    """Return the size of the largest volume whose overlay always fits.

    Volumes are of whole GiB, and what a store is rounded up by is less than
    what another GiB takes: it is the size that the store was made for.

    :param store: bytes.
    :param cluster: bytes.
    :returns: bytes, a whole number of GiB; 0 if not even one fits.
    """
    sizes = range(units.Gi, store + 1, units.Gi)
    return units.Gi * bisect.bisect_right(
        sizes, store, key=lambda size: store_size(size, cluster))


def _tables(lower: int, cluster: int) -> int:
    """Return the clusters of lower tables and the upper one over them."""
    return lower + _COPIES * -(-lower * _UPPER_ENTRY // cluster)
