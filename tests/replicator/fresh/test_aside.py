"""What is set aside, as values."""

from __future__ import annotations

import pytest

from headwater.transport.kafka_batch import Record
from replicator.fresh.aside import DEFERRED, Aside, Range, unproven_from
from replicator.fresh.backlog import Lateness
from replicator.fresh.parts import parts
from replicator.position import RECREATED, RETENTION, Gap, Position, encode, gap_key
from replicator.proof.entry import Head
from replicator.sharing.shares import share_of, share_of_key

FIRST, SECOND = Range(100, 200, 1, 0), Range(300, 400, 2, 0)


def head(era: int, source_next: int, target_next: int) -> Head:
    """Proven up to there."""
    return Head(era, source_next, target_next, "", 0)


def position(era: int, first: int, following: int, target_next: int) -> Position:
    """Shipped up to there, a record an offset."""
    return Position(era, first, following, following - first, target_next)


@pytest.mark.parametrize(
    ("aside", "stands", "proven", "floor"),
    [
        (Aside((FIRST,)), None, None, 100),
        (Aside((FIRST, SECOND), shipping=True), position(0, 100, 150, 50), head(0, 120, 20), 120),
        (Aside((FIRST, SECOND), shipping=True), position(0, 100, 150, 50), head(0, 150, 50), 150),
        (Aside((SECOND,)), position(0, 100, 200, 100), head(0, 200, 100), 300),
        (Aside((SECOND,)), position(0, 100, 200, 100), head(0, 180, 80), 180),
        (Aside((SECOND,), shipping=True), position(1, 300, 350, 150), head(0, 180, 80), 180),
        (Aside((SECOND,), shipping=True), position(1, 300, 350, 150), head(0, 200, 100), 300),
        (Aside(), position(1, 300, 400, 200), head(1, 400, 200), None),
        (Aside(), position(1, 400, 400, 100), head(0, 200, 100), None),
        (Aside(), None, None, None),
    ],
)
def test_nothing_is_safe_to_delete_that_waits_or_is_not_proven(
    aside: Aside, stands: Position | None, proven: Head | None, floor: int | None
) -> None:
    """The source is kept from the first offset that is set aside and not at the target, or not proven there."""
    assert unproven_from(aside, stands, proven) == floor


def test_ranges_end_where_the_source_has_another_log() -> None:
    """What the live stream ships anew is not shipped beside it."""
    both = Aside((FIRST, SECOND), shipping=True)
    assert both.cut(350).ranges == (FIRST, Range(300, 350, 2, 0))
    assert both.cut(150) == Aside((Range(100, 150, 1, 0),), shipping=True)
    assert both.cut(0) == Aside()


def test_a_range_of_which_all_has_landed_is_none() -> None:
    """Batches of a former life may have brought all of it."""
    waits = Aside((FIRST, Range(300, 400, 2, 0, position(1, 200, 300, 100))))
    assert waits.settled(400).ranges == (FIRST,)
    assert waits.settled(320).ranges == (FIRST, Range(320, 400, 2, 0))


def test_lateness_needs_no_times_of_records() -> None:
    """A partition is as late as the oldest look at which its source had more than the target has now."""
    late = Lateness(step_s=1.0)
    assert late.look(0.0, decided=10, reached=10) == 0
    assert late.look(5.0, decided=20, reached=10) == 0
    assert late.look(9.0, decided=30, reached=15) == 4
    assert late.look(10.0, decided=40, reached=25) == 1
    assert late.look(11.0, decided=40, reached=40) == 0


def test_both_streams_together_are_the_source() -> None:
    """From recorded gaps: which offsets went where, from the last gap that changed what offsets mean."""
    gaps = [
        Gap("t", 0, DEFERRED, 0, 5, 5, 1, 0),
        Gap("t", 0, RECREATED, 10, 20, 0, 2, 0),
        Gap("t", 0, DEFERRED, 50, 90, 90, 3, 0),
        Gap("t", 0, RETENTION, 100, 110, 110, 4, 0),
        Gap("t~backlog", 0, RETENTION, 60, 70, 70, 1, 0),
    ]
    kept = {gap_key(gap): Record(0, 0, gap_key(gap), encode(gap), ()) for gap in gaps}
    assert parts(kept, "t", 0) == ([(0, 50), (90, 100), (110, 1 << 62)], [(50, 60), (70, 90)])
    assert parts(kept, "t", 1) is None


def test_all_that_is_stored_of_a_partition_has_one_writer() -> None:
    """Streams of a partition belong to one share, whatever the topic is called."""
    for topic in ("readings", "7", "gap"):
        share = share_of(topic, 3)
        assert share_of(f"{topic}~backlog", 3) == share
        for key in ("{}/3", "{}/3/aside", "{}~backlog/3", "gap/{}/3/1", "proof/{}~backlog/3", "standing/{}/3"):
            assert share_of_key(key.format(topic).encode()) == share, key
