"""What is said of a range that was set aside, in `<site>.gaps.internal` (notices.py): cause `deferred`.

`shipped_to` is the topic at the target that gets it; `filled`: it is all there. Both are said under one key, so that a
reader of the compacted topic finds the newer one.
"""

from __future__ import annotations

from replicator.fresh.aside import DEFERRED, Range
from replicator.notices import Notice
from replicator.way import Way


class Deferral(Notice, frozen=True):
    """A notice of a range that is shipped elsewhere."""

    shipped_to: str = ""
    filled: bool = False


def of_range(live: Way, beside: Way, found: Range, *, filled: bool, at: int) -> Deferral:
    """What a range is said as; `at` is ms since 1970."""
    return Deferral(
        live.topic,
        live.partition,
        live.target,
        DEFERRED,
        found.first,
        found.end - 1,
        found.era,
        at,
        shipped_to=beside.target,
        filled=filled,
    )
