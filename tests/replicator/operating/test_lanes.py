"""Lanes can be seen: what waits in each, what it gets of the link, and until when it may not send."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from functools import partial
from pathlib import Path

import pytest

from headwater.contract.topics import remote
from replicator.links.settings import LinkSettings
from replicator.operating.lanes import lanes, shares
from replicator.operating.live import LaneView, PartitionView, Snapshot
from replicator.operating.wording import lane_cells, link_text
from tests.edge_agent.box import free_port
from tests.replicator.bed import Bed, until
from tests.replicator.operating.test_commands import Desk, scraped


def test_what_a_lane_gets_of_a_full_link() -> None:
    """Nine tenths at most for the first lane, the rest by weight; the whole link where there is one lane."""
    assert shares(LinkSettings().weights) == pytest.approx([0.9, 0.095, 0.005])
    assert shares([1.0, 2.0, 1.0]) == pytest.approx([0.25, 0.5, 0.25])
    assert shares(LinkSettings(lanes=()).weights) == [1.0]
    assert shares([0.0, 0.0, 1.0]) == [0.0, 0.0, 1.0], "a lane without topics has none"
    assert shares([1.0, 0.0]) == [0.9, 0.0]


def test_a_lane_is_its_topics() -> None:
    """Each partition counts in the lane of its topic; the oldest of a lane is the oldest of its partitions."""
    waiting = {"target": "", "engine": "batch", "state": "shipping", "lag_records": 2, "lag_bytes": 100}
    found = lanes(
        LinkSettings(),
        [
            PartitionView("alarms", 0, **waiting),
            PartitionView("readings", 0, age_ms=7, **waiting),
            PartitionView("readings", 1, age_ms=9, **waiting),
        ],
        None,
    )
    assert [(each.name, each.topics, each.lag_records, each.lag_bytes, each.age_ms) for each in found] == [
        ("alarms", {"alarms": 1}, 2, 100, None),
        ("scores", {}, 0, 0, None),
        ("bulk", {"readings": 2}, 4, 200, 9),
    ]
    assert [each.share for each in found] == pytest.approx([0.9, 0.0, 0.1])


def test_lanes_and_link_in_words() -> None:
    """Why a lane is shut, until when, and how fast the link goes."""
    noon = int(dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC).timestamp() * 1000)
    lane = LaneView("bulk", 0.05, {"a": 1, "b": 4}, 1200, 34_567, 90_000, shut="budget", until=noon)
    assert lane_cells(lane) == (
        "bulk", "1,200", "34.6 kB", "2 min", "5%", "a, b (4)", "shut by the budget until 2026-11-21 12:00 UTC",
    )  # fmt: skip
    assert lane_cells(LaneView("alarms", 0.9))[-2:] == ("none", "open")
    now = Snapshot(round_trip_ms=612.3, connections=5, rate_bytes_s=8000.0)
    assert link_text(now) == "round trip 612.3 ms, 5 connections, paced at 8,000 B a second"
    assert link_text(Snapshot(connections=1)) == "round trip unknown, 1 connection, not paced"


async def test_a_lane_that_waits_for_its_hours_is_seen(bed: Bed, tmp_path: Path) -> None:
    """Status, watch and metrics name the lane, what waits in it and until when; alarms have gone meanwhile."""
    desk, port = Desk(bed, tmp_path / "home"), free_port()
    alarms, readings = await bed.topic("alarms", partitions=1), await bed.topic("readings", partitions=2)
    for topic in (alarms, readings):
        await bed.fill(topic, 20)
    opens = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=3)).replace(minute=0, second=0, microsecond=0)
    hours = f"{opens:%H:%M}-{opens + dt.timedelta(hours=1):%H:%M}"
    more = {
        "HEADWATER_REPLICATOR__METRICS_PORT": str(port),
        "HEADWATER_REPLICATOR__LINK__HOURS": json.dumps([hours]),
        "HEADWATER_REPLICATOR__LINK__LANES": '[{"name": "urgent", "topics": ["alarms-*"]}]',
    }
    async with desk.running(**more):
        await until(partial(bed.holds, remote(bed.site, alarms), 20), "alarms have gone")

        async def waits() -> bool:
            return bool((await desk.tells("watch"))["lanes"][1]["lag_records"] == 40)

        await until(waits, "what waits is known")
        metrics = await asyncio.to_thread(scraped, port)
        urgent, bulk = (await desk.tells("status"))["process"]["lanes"]
        texts = [(await desk.says(word))[1] for word in ("status", "watch")]
    assert (urgent["topics"], urgent["lag_records"], urgent["shut"], urgent["sent_bytes"] > 0) == (
        {alarms: 1}, 0, "", True,
    )  # fmt: skip
    assert (bulk["topics"], bulk["shut"], bulk["until"]) == ({readings: 2}, "hours", opens.timestamp() * 1000)
    assert bulk["age_ms"] > 0
    for text in texts:
        assert "shut by its hours until" in " ".join(text.split())
        assert "round trip" in text
    labels = f'{{direction="up",lane="bulk",site="{bed.site}"}}'
    assert metrics[f"headwater_replicator_lane_shut{labels}"] == 1.0
    assert metrics[f"headwater_replicator_lane_lag_records{labels}"] == 40.0
    assert not await bed.ends_at(readings, 0, 20)
