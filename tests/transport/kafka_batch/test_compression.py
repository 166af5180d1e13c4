"""Batches are inflated by decompressors that are kept: one that was broken or large leaves nothing to the next."""

from __future__ import annotations

import lz4.frame
import pytest
import zstandard

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.compression import compress, inflate


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The same bytes as Kafka's producers compress them, with and without their size in front."""
    return [
        (3, bytes(compress("lz4", data))),
        (3, lz4.frame.compress(data, store_size=True, content_checksum=True)),
        (4, bytes(compress("zstd", data))),
        (4, zstandard.ZstdCompressor(write_content_size=False).compress(data)),
    ]


@pytest.mark.parametrize("cut", [1, 9, 30, -1])
def test_a_broken_batch_leaves_nothing_to_the_next(cut: int) -> None:
    """Cut off anywhere, changed anywhere: the next batch of the same codec is what it was."""
    good = [(code, each, data) for data in (b"reading " * 50, bytes(300)) for code, each in frames(data)]
    for code, whole in frames(bytes(n * n % 251 for n in range(999))):
        broken = bytearray(whole)
        broken[cut] ^= 0x55
        for spoilt in (whole[:cut], bytes(broken)):
            for after, each, data in good:
                try:
                    inflate(code, memoryview(spoilt))
                except BadInput:
                    pass
                assert bytes(inflate(after, memoryview(each))) == data


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3_000_000])
def test_what_inflates_a_lot_comes_whole(size: int) -> None:
    """Also where it is far more than a batch usually is."""
    for code, each in frames(bytes(size)):
        assert bytes(inflate(code, memoryview(each))) == bytes(size)
