"""What `headwater replicate watch` shows, from a snapshot and on a terminal."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from io import StringIO
from pathlib import Path

from rich.console import Console

from headwater.contract.topics import remote
from replicator.operating.live import PartitionView, Snapshot
from replicator.operating.watching import view
from replicator.tables import bytes_text, span_text
from tests.replicator.bed import Bed, until
from tests.replicator.operating.test_commands import Desk


def shown(now: Snapshot, before: Snapshot | None = None) -> str:
    """The view as text, 80 columns wide."""
    console = Console(width=80, record=True, file=StringIO())
    console.print(view(now, before))
    return console.export_text()


def part(topic: str, **more: object) -> PartitionView:
    """A partition that is well, but for `more`."""
    fields = {"topic": topic, "partition": 0, "target": f"lyon.{topic}", "engine": "batch", "state": "shipping", **more}
    return PartitionView(**fields)  # type: ignore[arg-type]  # the test says what is what


def test_trouble_is_in_sight() -> None:
    """What stands still, is doubted, paused, late or without end is said in words, with what to do."""
    now = Snapshot(
        site="lyon",
        at=100_000,
        since=40_000,
        open=True,
        goodput_bytes_s=123_456.0,
        round_trip_ms=612.3,
        sent_bytes=2_000_000,
        wasted_bytes=100_000,
        eta_s=None,
        eta_why="never at this rate",
        budget_left_bytes=5_000_000,
        paused={"alarms": "satellite costs"},
        partitions=[
            part(
                "readings",
                records=600,
                lag_records=5000,
                lag_bytes=90_000,
                age_ms=7_200_000,
                source_next=600,
                safe_to_delete=500,
            ),
            part("alarms", state="paused"),
            part("scores", state="halted", halted="offsets 3 to 5 were deleted", hint="set on_gap", exit_code=8),
            part("status", doubted="offset 7 is not what it was"),
        ],
        last_error="the link is slow",
        last_error_at=90_000,
    )
    text = shown(now)
    for words in (
        "123.5 kB a second", "never at this rate", "612.3 ms", "5.0% in vain", "5,000.0 kB",
        "paused: alarms (satellite costs)",
        "scores[0] stands still: offsets 3 to 5 were deleted; set on_gap", "status[0]: offset 7 is not what it was",
        "2 h 0 min", "all but 100", "last error, 10.0 s ago: the link is slow",
    ):  # fmt: skip
        assert words in text, words
    assert all(len(line) <= 80 for line in text.splitlines())
    before = Snapshot(at=98_000, since=40_000, partitions=[part("readings", records=580)])
    assert [line.split()[:3] for line in shown(now, before).splitlines() if line.startswith("readings")] == [
        ["readings", "shipping", "10"]
    ]


def test_numbers_for_people() -> None:
    """Sizes and spans have a unit and three digits or so."""
    assert [bytes_text(n) for n in (0, 9_999, 12_345, 123_456_789, 5e12)] == [
        "0 B", "9,999 B", "12.3 kB", "123.5 MB", "5,000.0 GB",
    ]  # fmt: skip
    assert [span_text(n) for n in (0.04, 89, 600, 7_500, 900_000)] == [
        "0.0 s",
        "89.0 s",
        "10 min",
        "2 h 5 min",
        "10 days",
    ]


async def test_the_live_view_goes_on_until_it_is_ended(bed: Bed, tmp_path: Path) -> None:
    """On a terminal it is drawn again and again, and Ctrl-C ends it without a trace."""
    desk = Desk(bed, tmp_path / "home")
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 10)
    line, env = desk.command()
    master, slave = os.openpty()
    async with desk.running():
        await until(partial(bed.holds, remote(bed.site, topic), 10), "all is shipped")
        words = [*line, "watch", "--interval", "0.1"]
        process = await asyncio.create_subprocess_exec(*words, env={**env, "TERM": "xterm"}, stdout=slave, stderr=slave)
        os.close(slave)
        os.set_blocking(master, False)
        seen = bytearray()

        async def drawn() -> bool:
            try:
                seen.extend(os.read(master, 1 << 16))
            except BlockingIOError:
                pass
            return seen.count(b"up to date") >= 3

        await until(drawn, "it was drawn three times")
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    os.close(master)
    assert b"Traceback" not in seen
