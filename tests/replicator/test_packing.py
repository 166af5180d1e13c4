"""Batches are packed anew on their way: the same records in fewer bytes, and nothing is made to look well."""

from __future__ import annotations

import asyncio
import random
import struct
from functools import partial

import pytest

from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Batch, Fetched, Out, batches, encode, records
from headwater.transport.kafka_batch.compression import Codec
from replicator.packing import Packer
from replicator.proof.checking import SOURCE, TARGET
from replicator.proof.sides import check_side
from tests.replicator.bed import Bed, numbered, replicator, until
from tests.replicator.silence import standing
from tests.replicator.test_merging import part, some

SEED = 20_261_121


def packed(fetched: Fetched, codec: Codec = "zstd", start: int = 0) -> tuple[list[Batch], Packer, dict[str, int]]:
    """What leaves for what was fetched."""
    counts: dict[str, int] = {}
    packer = Packer(codec, counts, lambda _: None)
    return [found.batch for found in packer.found(fetched, start)], packer, counts


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("to", ["lz4", "zstd"])
def test_packed_batches_hold_the_same_records(codec: Codec, to: Codec) -> None:
    """Whatever is in them, small and large: offsets, times, keys, values and headers stay, in their order."""
    dice = random.Random(SEED)
    few = [encode(some(dice, dice.randint(1, 6)), codec=codec) for _ in range(30)]
    large = [encode([numbered(n, 400) for n in range(first, first + 90)], codec=codec) for first in range(0, 270, 90)]
    fetched = part(*few, *large, *few)
    made, packer, counts = packed(fetched, to)
    sources = list(batches(fetched.data))
    assert [each for batch in made for each in records(batch)] == [each for batch in sources for each in records(batch)]
    assert all(batch.crc_ok() for batch in made)
    assert sum(len(batch.raw) for batch in made) + packer.saved_bytes == len(fetched.data)
    assert 0 <= counts.get("recompressed", 0) <= len(sources)
    assert (packer.saved_bytes > 0) == bool(counts)
    assert counts or (codec, to) in {("lz4", "lz4"), ("zstd", "zstd"), ("zstd", "lz4")}
    ends = {batch.last_offset: batch.crc for batch in sources}
    for batch in made:
        last = packer.sources.get(batch.base_offset, batch)
        assert ends[last.last_offset] == last.crc


def test_a_flipped_bit_is_not_packed() -> None:
    """A batch whose checksum is wrong leaves as it came, for the target to refuse; those around it are packed."""
    pieces = [encode([numbered(n) for n in range(first, first + 20)]) for first in range(0, 200, 20)]
    pieces[5][-3] ^= 4
    made, _, counts = packed(part(*pieces))
    assert [batch.count for batch in made] == [100, 20, 80]
    assert [batch.crc_ok() for batch in made] == [True, False, True]
    assert bytes(made[1].raw[61:]) == bytes(pieces[5][61:])
    assert counts == {"recompressed": 9}


@pytest.mark.parametrize(("attributes", "why"), [(0x08, "append time"), (0x07, "unknown codec"), (0x20, "control")])
def test_special_batches_are_left_alone(attributes: int, why: str) -> None:
    """Append time, markers, and codecs that nobody knows leave as they came."""
    pieces = [encode([numbered(n)]) for n in range(9)]
    for piece in pieces:
        struct.pack_into(">h", piece, 21, attributes)
    fetched = part(*pieces)
    assert [bytes(batch.raw) for batch in packed(fetched)[0]] == [bytes(batch.raw) for batch in batches(fetched.data)]
    assert why


def test_what_does_not_compress_is_left_and_tried_less_and_less() -> None:
    """Noise leaves byte for byte; after a while most fetches are not tried at all, until something compresses again."""
    dice = random.Random(SEED)
    noise = part(*(encode([Out(None, dice.randbytes(4000), (), 1) for _ in range(5)]) for _ in range(3)))
    text = part(*(encode([numbered(n, 20_000)]) for n in range(3)))
    counts: dict[str, int] = {}
    packer = Packer("zstd", counts, lambda _: None)
    for _ in range(40):
        found = packer.found(noise, 0)
        assert [bytes(each.batch.raw) for each in found] == [bytes(batch.raw) for batch in batches(noise.data)]
    for _ in range(70):
        packer.found(text, 0)
    assert counts["recompressed"] >= 3 * 6
    assert packer.found(text, 0)[0].batch.codec == "zstd"


async def test_records_are_packed_on_their_way(bed: Bed) -> None:
    """Single records and large batches arrive in fewer bytes; status counts what was packed, and both sides agree."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 300, size=200, batch=1)
    await bed.fill(topic, 300, size=400, batch=100)
    bed.produce(topic, [numbered(600 + n, 300) for n in range(50)], compression_type="gzip")
    await bed.ship(link={"recompress": "zstd"})
    await bed.assert_same(topic)
    theirs = await bed.batches(bed.target, remote(bed.site, topic), 0)
    ours = await bed.batches(bed.source, topic, 0)
    assert sum(len(batch.raw) for batch in theirs) < sum(len(batch.raw) for batch in ours) / 4
    found = await standing(bed, topic)
    assert found is not None
    assert found.reworked["recompressed"] > 290
    (there,), (here,) = await check_side(bed.settings(), TARGET), await check_side(bed.settings(), SOURCE)
    assert (there.proven, here.proven) == (650, 650)


async def test_kills_with_packed_batches_double_nothing(bed: Bed) -> None:
    """Lives that die by SIGKILL in the middle, and that pack other batches together than the one before."""
    topic = await bed.topic(partitions=1)
    settings, dice, target = bed.settings(topic), random.Random(SEED), remote(bed.site, topic)
    sent = shipped = 0

    async def write() -> None:
        nonlocal sent
        while True:
            outs = [numbered(n, dice.randrange(400)) for n in range(sent, sent + dice.choice([1, 1, 2, 30]))]
            await bed.write(topic, 0, encode(outs, codec=dice.choice(["none", "lz4", "zstd"])))
            sent += len(outs)
            await asyncio.sleep(0.02)

    writing = asyncio.create_task(write())
    try:
        for _ in range(3):
            async with replicator(bed, settings, LINK__RECOMPRESS="zstd"):
                await until(partial(bed.holds, target, shipped + 1, more=True), "this life ships")
                await asyncio.sleep(dice.uniform(0.0, 0.3))
            shipped = (await bed.target.offsets(target, "latest"))[0]
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    await bed.ship()
    await bed.assert_same(topic)
    assert not await bed.gaps()
