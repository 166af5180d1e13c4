"""A link and its lanes in words, for `status` and `watch`."""

from __future__ import annotations

import time

from replicator.operating.live import LaneView, Snapshot
from replicator.tables import bytes_text, span_text

LANE_HEADER = ("lane", "waiting", "bytes", "oldest", "share", "topics", "now")


def link_text(now: Snapshot) -> str:
    """The road to the target: round trip, connections, and how fast batches leave."""
    trip = "round trip unknown" if now.round_trip_ms is None else f"round trip {now.round_trip_ms:,.1f} ms"
    lines = "1 connection" if now.connections == 1 else f"{now.connections} connections"
    rate = "not paced" if now.rate_bytes_s is None else f"paced at {bytes_text(now.rate_bytes_s)} a second"
    return f"{trip}, {lines}, {rate}"


def eta_text(now: Snapshot) -> str:
    """Until all is shipped."""
    return now.eta_why or "unknown" if now.eta_s is None else span_text(now.eta_s)


def lane_cells(lane: LaneView) -> tuple[str, ...]:
    """A row below LANE_HEADER."""
    topics = ", ".join(name if count == 1 else f"{name} ({count})" for name, count in lane.topics.items())
    oldest = "" if lane.age_ms is None else span_text(lane.age_ms / 1000)
    return (
        lane.name,
        f"{lane.lag_records:,}",
        bytes_text(lane.lag_bytes),
        oldest,
        f"{lane.share:.0%}",
        topics or "none",
        _may(lane),
    )


def _may(lane: LaneView) -> str:
    if not lane.shut:
        return "open"
    until = "" if lane.until is None else time.strftime(" until %Y-%m-%d %H:%M UTC", time.gmtime(lane.until / 1000))
    return f"shut by its hours{until}" if lane.shut == "hours" else f"shut by the budget{until}"
