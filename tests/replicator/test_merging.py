"""Small source batches leave as one, with the same records, and what is wrong with one of them stays where it was."""

from __future__ import annotations

import random
import struct

import pytest

from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Batch, Fetched, Out, batches, encode, records
from headwater.transport.kafka_batch.compression import Codec
from replicator.merging import FEW, MERGED_BYTES, Merger
from tests.replicator.bed import Bed, numbered

SEED = 20_261_121


def part(*pieces: bytes | bytearray, first: int = 100) -> Fetched:
    """What a fetch brings of one partition: these batches, their offsets in a row."""
    data = bytearray()
    for piece in pieces:
        (batch,) = batches(memoryview(piece))
        made = bytearray(piece)
        struct.pack_into(">q", made, 0, first)
        data += made
        first += batch.count
    return Fetched("t", 0, 0, first, first, 0, [], memoryview(data))


def some(dice: random.Random, count: int) -> list[Out]:
    """Records of every kind, times in no order."""
    return [
        Out(
            dice.choice([None, b"", b"key", dice.randbytes(200)]),
            dice.choice([None, b"", b"value", dice.randbytes(300), dice.randbytes(9000)]),
            dice.choice([(), (("name", b"content"), ("", None))]),
            1_700_000_000_000 + dice.randrange(-100_000, 100_000),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("most", [1, FEW, FEW + 2])
def test_merged_batches_hold_the_same_records(codec: Codec, most: int) -> None:
    """Whatever is in them: offsets, times, keys, values and headers stay, in their order."""
    dice = random.Random(SEED)
    counts = [1, *(dice.randint(1, most) for _ in range(149))]  # the first one decides whether it looks for more
    fetched = part(*(encode(some(dice, count), codec=codec) for count in counts))
    merger = Merger()
    found = merger.found(fetched, 0)
    assert [record for batch, _ in found for record in records(batch)] == [
        record for batch in batches(fetched.data) for record in records(batch)
    ]
    assert all(batch.crc_ok() and is_data for batch, is_data in found)
    assert len(found) < 150
    if most <= FEW:
        assert len(found) < 30
        assert max(len(batch.raw) for batch, _ in found) < 2 * MERGED_BYTES
    sources = {batch.last_offset: batch.crc for batch in batches(fetched.data)}
    merged = [batch for batch, _ in found if batch.base_offset in merger.sources]
    assert [merger.sources[batch.base_offset].crc for batch in merged] == [sources[b.last_offset] for b in merged]


def test_a_flipped_bit_is_not_merged() -> None:
    """A batch whose checksum is wrong leaves as it came, for the target to refuse; those around it are merged."""
    pieces = [encode([numbered(n)]) for n in range(20)]
    pieces[10][-1] ^= 4
    found = [batch for batch, _ in Merger().found(part(*pieces), 0)]
    assert [batch.count for batch in found] == [10, 1, 9]
    assert [batch.crc_ok() for batch in found] == [True, False, True]


@pytest.mark.parametrize(("attributes", "why"), [(0x10, "transactional"), (0x08, "append time"), (0x01, "gzip")])
def test_special_batches_are_left_alone(attributes: int, why: str) -> None:
    """Transactions, append time and codecs that are not written: nothing of them is merged."""
    pieces = [encode([numbered(n)]) for n in range(9)]
    for piece in pieces:
        struct.pack_into(">h", piece, 21, attributes)
    assert len(Merger().found(part(*pieces), 0)) == 9, why


def test_nothing_is_merged_over_a_hole_or_before_the_start() -> None:
    """Offsets that are missing, and what was shipped before, end a merged batch."""
    fetched = part(*(encode([numbered(n)]) for n in range(10, 30)))
    data = bytearray(fetched.data)
    each = len(data) // 20
    holed = fetched._replace(data=memoryview(data[: 5 * each] + data[6 * each :]))
    found: list[Batch] = [batch for batch, _ in Merger().found(holed, 102)]
    assert [(batch.base_offset, batch.last_offset) for batch in found] == [
        (100, 100),
        (101, 101),
        (102, 104),
        (106, 119),
    ]


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_a_fetch_that_ends_anywhere_is_taken_as_far_as_it_is_whole(codec: Codec) -> None:
    """A broker cuts what it sends at a number of bytes: within a header, right behind one, within a record."""
    whole = part(*(encode([numbered(n)], codec=codec) for n in range(6)))
    data = bytes(whole.data)
    ends = [end for end in range(len(data) + 1) if end == len(data) or data[end + 11 : end + 12]]
    sizes = {batch.base_offset: len(batch.raw) for batch in batches(whole.data)}
    for cut in ends:
        found = Merger().found(whole._replace(data=memoryview(data[:cut])), 0)
        at, complete = 0, 0
        while complete < 6 and at + sizes[100 + complete] <= cut:
            at, complete = at + sizes[100 + complete], complete + 1
        assert sum(batch.count for batch, _ in found) == complete, cut


async def test_single_records_arrive_in_larger_batches(bed: Bed) -> None:
    """A backlog of single records arrives whole, in few batches, and the log is known again by a source batch."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 200, batch=1)
    await bed.ship_and_die()
    await bed.fill(topic, 100, batch=1)
    await bed.ship()
    await bed.assert_same(topic)
    assert len(await bed.batches(bed.target, remote(bed.site, topic), 0)) < 40
    position = await bed.position(topic)
    sources = {batch.base_offset: batch.crc for batch in await bed.batches(bed.source, topic, 0)}
    assert position.trail
    assert all(sources[mark.base] == mark.crc for mark in position.trail)
    assert not await bed.gaps()
