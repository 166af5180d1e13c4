"""Record numbers, sequences and positions, without a broker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.contract.errors import BadInput, Fenced, Refused
from replicator.numbering import WRAP, Stamp, TargetState, nearest, recount, sequence, shipped
from replicator.position import TRAIL_LENGTH, Gap, Identity, Mark, Position, decode, encode, gap_key, thinned

PID = 7
POSITION = Position(era=2, source_first=100, source_next=180, count=50, target_next=1050)


@given(number=st.integers(0, 1 << 40), error=st.integers(-(1 << 20), 1 << 20))
def test_a_number_is_found_again_from_its_sequence(number: int, error: int) -> None:
    """A sequence and a stale count give the number, over every wrap at 2^31."""
    near = max(0, number + error)
    assert nearest(sequence(number), near) == number


def test_sequences_wrap_as_kafka_wraps_them() -> None:
    """2^31 - 1 is followed by 0."""
    assert [sequence(WRAP - 1), sequence(WRAP), nearest(0, WRAP - 1)] == [WRAP - 1, 0, WRAP]


@pytest.mark.parametrize(
    ("state", "number"),
    [
        (TargetState(0, 1060, 2, 59), 60),
        (TargetState(0, 1050, 2, 59), 60),  # the high watermark is behind the leader
        (TargetState(0, 1040, 2, 39), 40),  # records were lost at the target
        (TargetState(0, 1000, 1, 999), 0),  # nothing of this era has landed
        (TargetState(1070, 1070, None, -1), 70),  # forgotten, and the log is empty
        (TargetState(0, 0, None, -1), 0),  # the target was made anew
    ],
)
def test_what_the_target_knows_gives_the_number(state: TargetState, number: int) -> None:
    """The last sequence counts; without one the end of the log does."""
    assert shipped(POSITION, state, "lyon.readings[0]") == number


def test_a_later_era_means_another_replicator() -> None:
    """An epoch that this link has not begun is not overwritten."""
    with pytest.raises(Fenced, match="era 3 has begun"):
        shipped(POSITION, TargetState(0, 1050, 3, 0), "lyon.readings[0]")


def test_a_recount_tells_repeats_from_news() -> None:
    """Batches that are not the next ones are strays, by their offsets; what follows them still counts."""
    found = [
        Stamp(1050, 5, PID, 2, 50),
        Stamp(1055, 10, PID, 2, 40),
        Stamp(1065, 3, PID, 2, 55),
        Stamp(1068, 1, PID, 1, 9),
    ]
    assert recount(POSITION, PID, found, "w") == (58, 1069, (1055, 1069), 9)
    fresh = Position(era=2, source_first=100, source_next=100, count=0, target_next=1000)
    late = [Stamp(1000, 4, PID, 1, 77), Stamp(1004, 6, PID, 2, 0)]
    assert recount(fresh, PID, late, "w") == (6, 1010, None, 5)


@pytest.mark.parametrize("stamp", [Stamp(1050, 5, 99, 2, 50), Stamp(1050, 5, PID, 3, 0)])
def test_batches_of_others_are_refused(stamp: Stamp) -> None:
    """Another producer, or a later era, at the target is named with its offset."""
    with pytest.raises(Refused, match=r"offset 1050.*somebody else"):
        recount(POSITION, PID, [stamp], "w")


def test_marks_reach_far_back_and_stay_few() -> None:
    """A trail keeps its first mark and its newest ones, with growing distances between, in bounded number."""
    trail: tuple[Mark, ...] = ()
    for n in range(1000):
        trail = thinned(trail, Mark(n * 10, n * 10 + 10, n, n * 10 + 10))
    bases = [mark.base for mark in trail]
    assert len(trail) == TRAIL_LENGTH
    assert bases == sorted(bases)
    assert (bases[0], bases[-1]) == (0, 9990)
    assert 9990 - bases[-5] < 300
    assert thinned(trail, Mark(4000, 4010, 1, 4010))[-1].base == 4000  # after a step back what lies ahead is dropped


def test_what_is_stored_has_fixed_bytes() -> None:
    """Positions, gaps and the producer are read by later versions: their bytes are part of the contract."""
    position = Position(1, 5, 8, 3, 10, (Mark(5, 8, 9, 3),), at=11)
    gap = Gap("readings", 2, "retention", 20, 35, 35, 1, at=12)
    assert encode(position) == (
        b'{"at":11,"count":3,"era":1,"ruled":null,"source_first":5,"source_id":"","source_next":8,"target_next":10,'
        b'"trail":[{"base":5,"count":3,"crc":9,"next":8}],"v":1}'
    )
    assert encode(gap) == (
        b'{"at":12,"cause":"retention","end":35,"era":1,"first":20,"partition":2,"resumed_at":35,"topic":"readings","v":1}'
    )
    assert encode(Identity(pid=7)) == b'{"pid":7,"v":1}'
    assert gap_key(gap) == b"gap/readings/2/1"
    assert decode(encode(position), Position, "p") == position
    assert decode(encode(position).replace(b'"ruled":null,', b""), Position, "p") == position  # of an earlier version


@pytest.mark.parametrize(
    "data", [None, b"", b"{}", b"[1]", b'{"pid":"x"}', b'{"pid":1,"v":2}', b"\xff", b'{"pid":NaN}']
)
def test_what_is_not_a_position_is_refused(data: bytes | None) -> None:
    """Unreadable or later values stop the link; they are not taken for a fresh start."""
    with pytest.raises(BadInput):
        decode(data, Identity, "positions, key producer")


@given(data=st.binary(max_size=60))
def test_mutilated_positions_raise_nothing_else(data: bytes) -> None:
    """Whatever bytes are in the topic, the answer is a value or BadInput."""
    good = encode(POSITION)
    for candidate in (data, good[: len(data)] + data, good[: len(data)]):
        try:
            decode(candidate, Position, "p")
        except BadInput:
            pass


def test_positions_of_earlier_versions_are_read() -> None:
    """Those without the id of the source's topic: it is not known then."""
    stored = b'{"at":11,"count":3,"era":1,"source_first":5,"source_next":8,"target_next":10,"trail":[],"v":1}'

    assert decode(stored, Position, "position") == Position(1, 5, 8, 3, 10, at=11, source_id="")
