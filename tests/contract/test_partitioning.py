"""The partition of a key."""

from __future__ import annotations

import pytest

from headwater.contract.partitioning import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_the_one_of_kafka(key: bytes, expected: int) -> None:
    """The values are those of Kafka's own test (UtilsTest.testMurmur2)."""
    assert murmur2(key) == expected & 0xFFFFFFFF


def test_a_partition_is_never_negative() -> None:
    """The sign bit of the hash is cleared before the remainder is taken."""
    assert {partition_of(b"pump-%d" % n, 4) for n in range(100)} == {0, 1, 2, 3}
