"""Which partition a key belongs to, so that every producer agrees.

Kafka's own rule for records with a key: murmur2 of the key, its sign bit cleared, modulo the number of partitions
(org.apache.kafka.common.utils.Utils.murmur2, BuiltInPartitioner.partitionForKey).
"""

from __future__ import annotations

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit hash, unsigned."""
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if length > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Partition of a record with this key, as Kafka's producers choose it."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
