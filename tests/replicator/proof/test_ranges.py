"""`verify` names every range in which two logs differ, record by record."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from headwater.transport.kafka_batch import Record
from replicator.proof.comparison import Comparison
from replicator.verify import _Walk
from replicator.way import Way


def log(numbers: Sequence[int]) -> list[Record]:
    """A log of records that differ by their numbers."""
    return [Record(offset, number, b"k", b"%d" % number) for offset, number in enumerate(numbers)]


async def compared(here: Sequence[int], there: Sequence[int]) -> Comparison:
    """What is said of two logs."""

    async def read(found: Sequence[int]) -> AsyncGenerator[Record, None]:
        for each in log(found):
            yield each

    walk = _Walk(Way("s", "t", 0))
    await walk.run(read(here), read(there))
    return walk.result(0, 0, 0)


def said(found: Comparison) -> list[str]:
    """Its ranges in words."""
    return [each.sentence() for each in found.ranges]


ALL = list(range(100))


async def test_each_range_is_named() -> None:
    """Dropped, doubled, swapped, altered and foreign records, each with its offsets on both sides."""
    assert said(await compared(ALL, ALL)) == []
    found = await compared(ALL, [*ALL[:10], *ALL[20:50], *ALL[45:]])
    assert said(found) == [
        "source offsets 10 to 19 are missing at target offset 10",
        "target offsets 40 to 44 are doubled",
    ]
    assert (found.missing, found.doubled, found.swapped) == (10, 5, 0)
    found = await compared(ALL, [*ALL[:30], *ALL[35:40], *ALL[30:35], *ALL[40:]])
    assert (found.missing, found.doubled, found.swapped, found.agrees) == (0, 0, 5, False)
    assert said(found) in (
        ["source offsets 30 to 34 stand at target offsets 35 to 39"],
        ["source offsets 35 to 39 stand at target offsets 30 to 34"],
    )
    found = await compared(ALL, [*ALL[:7], 700, 800, *ALL[9:], 900])
    assert said(found) == [
        "source offsets 7 to 8 are altered at target offsets 7 to 8",
        "target offsets 100 to 100 are not at the source",
    ]
