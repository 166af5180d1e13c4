"""What was under way when a connection ended counts as answered where the target has it, and only there."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from headwater.transport.kafka_batch import Batch, batches, encode
from headwater.transport.kafka_batch.outbox import Outbox
from replicator import underway
from replicator.engine import Shipment
from replicator.links.governor import Gate, Governor
from replicator.pipeline import Piece, Pipeline
from replicator.position import Mark, Position
from replicator.way import Way
from tests.replicator.bed import numbered

WAY = Way("lyon", "readings", 0)
ACKED = Position(3, 0, 100, 80, 1080, at=1)


def source(first: int, count: int) -> Batch:
    """A batch of the source."""
    (batch,) = batches(memoryview(encode([numbered(n) for n in range(count)])))
    return batch._replace(base_offset=first, last_offset=first + count - 1)


def pipeline(*pieces: Piece) -> Pipeline:
    """One whose connection ended with these under way."""
    made = Pipeline(WAY, cast("Outbox", None), lambda _, answer: None, None)
    made.unanswered = list(pieces)
    made.unacknowledged = sum(piece.size for piece in pieces)
    return made


ONE = source(100, 10)
TWO = source(112, 20)  # behind a marker or two
PIECES = (
    Piece(112, 10, 500, ONE, 1),
    Piece(118, 6, 300, TWO, 2, offsets=range(112, 118)),
    Piece(132, 14, 700, TWO, 3, offsets=range(118, 132)),
)


@pytest.mark.parametrize("arrived", [1, 2, 3])
def test_what_arrived_is_told_with_its_place(arrived: int) -> None:
    """Up to the end of a batch that was sent; the bytes of those do not count as sent in vain."""
    count = ACKED.count + sum(piece.count for piece in PIECES[:arrived])
    found = Position(3, 0, PIECES[arrived - 1].next, count, 1000 + count, at=2)
    told: list[Shipment] = []
    under_way = pipeline(*PIECES)
    underway.settle(ACKED, under_way, found, told.append)
    assert [each.records for each in told] == [piece.count for piece in PIECES[:arrived]]
    last = told[-1].written
    assert last is not None
    assert (last.source_next, last.target_next, last.exact) == (PIECES[arrived - 1].next, 1000 + count, arrived == 1)
    assert under_way.unacknowledged == sum(piece.size for piece in PIECES[arrived:])


@pytest.mark.parametrize(
    ("count", "era", "acked"),
    [(85, 3, ACKED), (80, 3, ACKED), (90, 4, ACKED), (90, 3, None), (90, 3, Position(3, 0, 200, 80, 1080))],
)
def test_what_is_not_sure_is_not_told(count: int, era: int, acked: Position | None) -> None:
    """The middle of a batch, nothing, another era, a first anchor, or a range that is left behind."""
    told: list[Shipment] = []
    underway.settle(acked, pipeline(*PIECES), Position(era, 0, 112, count, 1000 + count), told.append)
    assert not told


def test_marks_tell_where_the_source_would_be() -> None:
    """Behind each piece: in the middle of a source batch, too, with that batch's checksum."""
    assert underway.marks(ACKED, pipeline(*PIECES)) == [
        Mark(100, 110, ONE.crc, 90),
        Mark(112, 118, TWO.crc, 96),
        Mark(112, 132, TWO.crc, 110),
    ]
    assert underway.marks(ACKED, None) == []


async def test_who_leaves_takes_no_turn() -> None:
    """A partition whose connection has ended waits for no turn, and those behind it do not wait for its."""
    governor = Governor([1.0], most_rate=1000)
    gates = [Gate(governor, 0) for _ in range(3)]
    await gates[0].turn(500)
    gates[0].posted(500)
    waiting = [asyncio.create_task(gate.turn(50_000)) for gate in gates[1:]]
    await asyncio.sleep(0)
    gates[1].leave()
    await waiting[0]
    gates[0].answered(well=False)  # nothing stands before the link any more
    await asyncio.wait_for(waiting[1], 2.0)
    assert not gates[1].takes(50_000)
