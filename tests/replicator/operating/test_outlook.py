"""When all is shipped, on a clock of the test."""

from __future__ import annotations

from typing import Any

from replicator.operating.live import LaneView, PartitionView
from replicator.operating.outlook import NEVER, Outlook


def part(**more: Any) -> PartitionView:
    """A partition of which 1,000 records, 100,000 bytes wait."""
    return PartitionView(
        **{
            "topic": "readings", "partition": 0, "target": "lyon.readings", "engine": "batch", "state": "shipping",
            "lag_records": 1000, "lag_bytes": 100_000, **more,
        }
    )  # fmt: skip


OPEN = LaneView("bulk", 1.0, {"readings": 1})


def test_a_burst_that_is_worked_off_has_an_end() -> None:
    """What came within a second says nothing of what keeps coming: the bytes that wait over the present rate."""
    outlook = Outlook()
    for second in range(700):
        outlook.note(0 if second < 320 else 100_000 - 60 * (second - 320), second * 1000)
        assert not outlook.grows
    assert outlook.eta([part()], [OPEN], 20_000.0) == (5.0, "")


def test_what_grows_for_minutes_never_ends() -> None:
    """Not after seconds, but when it has grown for five minutes."""
    outlook = Outlook()
    for second in range(240):
        outlook.note(10 * second, second * 1000)
    assert outlook.eta([part()], [OPEN], 20_000.0) == (5.0, "")
    for second in range(240, 400):
        outlook.note(10 * second, second * 1000)
    assert outlook.eta([part()], [OPEN], 20_000.0) == (None, NEVER)


def test_why_nothing_goes_is_said() -> None:
    """Paused, halted, shut until a time, or unanswered; what waits for nobody is shipped."""
    outlook = Outlook()
    assert outlook.eta([part(lag_records=0, state="paused")], [OPEN], 0.0) == (0.0, "")
    assert outlook.eta([part(state="paused")], [OPEN], 0.0) == (None, "paused")
    assert outlook.eta([part(state="halted", halted="a gap")], [OPEN], 0.0) == (None, "halted")
    assert outlook.eta([part(state="paused")], [OPEN], 0.0, "the budget is used up") == (None, "the budget is used up")
    shut = LaneView("bulk", 1.0, {"readings": 1}, shut="hours", until=1_800_000_000_000)
    assert outlook.eta([part()], [shut], 500.0) == (None, "shut until 2027-01-15 08:00 UTC")
    assert "by the budget" in outlook.eta([part()], [LaneView("bulk", 1.0, {"readings": 1}, shut="budget")], 500.0)[1]
    found, why = outlook.eta([part()], [OPEN], 0.0)
    assert (found, "nothing was acknowledged" in why) == (None, True)
