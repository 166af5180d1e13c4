"""`headwater edge top`: what the bridge tells, and how it is shown."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from edge_agent.bridge.clockwatch import ClockView
from edge_agent.bridge.live import SOCKET, RouteView, Snapshot, SpoolView, ask, served
from edge_agent.bridge.standstill import Standstill
from edge_agent.settings import EdgeSettings
from edge_agent.status import bridge_of
from edge_agent.status_text import lines
from edge_agent.top import SHOWN, rates, route_rates, view
from headwater.contract.errors import Unreachable

NOW = Snapshot(
    at=20_000,
    since=10_000,
    site="lyon",
    pid=77,
    broker="127.0.0.1:1883",
    connected=True,
    running=True,
    counts={"received": 500, "written": 490, "waiting": 10},
    unacknowledged=10,
    held_bytes=4096,
    routes=[RouteView("lyon/{class}/{asset}", "readings", 500, 3, "bad-name: P 1")],
    waiting={"readings": 10},
    clocks=ClockView(known=9, off=1, most_ahead_ms=5200, furthest={"pump-1": -5200}),
    spool=SpoolView(1 << 20, 1 << 30, records=5, age_ms=3000),
    last_error="Kafka does not answer",
    last_error_at=17_000,
)


def shown(now: Snapshot, before: Snapshot | None = None, width: int = 200) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(view(now, before))
    return console.export_text()


async def test_a_bridge_is_asked_through_its_state_folder(tmp_path: Path) -> None:
    """However long the folder's path is, only the owner may ask, and nothing is left behind."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()

    async with served(folder, lambda: NOW):
        assert (folder / SOCKET).stat().st_mode & 0o777 == 0o600
        assert await asyncio.to_thread(ask, folder) == NOW
        assert await asyncio.to_thread(ask, folder) == NOW
    assert list(folder.iterdir()) == []


def test_no_bridge_is_a_sentence(tmp_path: Path) -> None:
    """Where none runs, also after one that was killed, it is said where it was looked for and what to do."""
    for leave in (False, True):
        if leave:
            (tmp_path / SOCKET).write_bytes(b"")
        with pytest.raises(Unreachable, match="no bridge answers at") as raised:
            ask(tmp_path)
        assert "headwater edge run" in raised.value.hint


def test_everything_is_shown() -> None:
    """Rate, what is held, spool, each route with its last error, clocks and the last error of all."""
    text = shown(NOW)

    for part in (
        "lyon",
        "50",
        "4 KiB",
        "1.0 of 1,024 MiB",
        "lyon/{class}/{asset}",
        "bad-name: P 1",
        "pump-1 5.2 s ahead",
    ):
        assert part in text
    assert "last error, 3 s ago: Kafka does not answer" in text
    assert "it is over" not in text
    assert "3 s ago (it is over): Kafka" in shown(replace(NOW, last_error_is_over=True))
    assert "resumed 9,000" in " ".join(shown(replace(NOW, counts={"resumed": 9000})).split())
    assert "UNACCOUNTED" not in text
    assert "UNACCOUNTED: 2 messages" in shown(replace(NOW, unaccounted=2))
    assert "STARTING" in shown(replace(NOW, running=False))
    assert "NOT CONNECTED" in shown(replace(NOW, connected=False))


def test_what_a_bridge_is_at_is_said_in_words() -> None:
    """Of each phase and outage, with how many messages wait; status and doctor use the same words."""
    waiting = replace(NOW, counts={"waiting": 4000})
    before_kafka = replace(NOW, running=False, spool=SpoolView(1 << 20, 1 << 30, 4000, 0, is_bound=True))

    assert NOW.standing == "subscribed"
    assert replace(waiting, standstill_s=34.2).standing == (
        "subscribed, but Kafka has taken nothing for 34 s; 4,000 messages wait"
    )
    assert replace(NOW, connected=False).standing.startswith("NOT CONNECTED, waits for the MQTT broker 127.0.0.1:1883")
    assert replace(before_kafka, counts={}).standing == "STARTING, waits for Kafka; up to 4,000 messages wait"


def test_a_standstill_begins_and_ends_with_what_kafka_takes() -> None:
    """Idle is none, nor is a pause of a second; when it goes on, how long it stood is known once."""
    now = [0.0]
    watch = Standstill(lambda: now[0])
    seen = []
    for at, settled, under_way in [(0, 5, 0), (1, 5, 7), (2, 5, 7), (9, 5, 7), (10, 6, 7), (11, 6, 7), (11.5, 13, 0)]:
        now[0] = float(at)
        seen.append((watch.look(settled, under_way), watch.seconds))

    assert [stood for stood, _ in seen] == [0, 0, 0, 0, 9, 0, 0]
    assert [seconds for _, seconds in seen] == [0, 0, 0, 8, 0, 0, 0]


async def test_status_and_top_say_the_same(tmp_path: Path) -> None:
    """A bridge that starts, waits or meets an outage is not one that does not run; none is said so."""
    settings = EdgeSettings.model_validate({"site": "lyon", "state_dir": tmp_path, "kafka": {"brokers": "127.0.0.1:1"}})
    stuck = replace(NOW, standstill_s=34.2, counts={"waiting": 4000})
    for now in (NOW, replace(NOW, running=False), replace(NOW, connected=False), stuck):
        async with served(settings.folder, lambda: now):  # noqa: B023  called in this turn
            found = await asyncio.to_thread(bridge_of, settings)
        assert found is not None
        rows = lines(
            {"site": "lyon", "bridge_pid": None, "bridge": found, "desired": None, "problems": [], "status": {}}
        )
        assert f"bridge    {now.standing} (process 77)" in rows
        assert now.standing in " ".join(shown(now).split())
        assert bool(found["problem"]) == (now is not NOW)
    assert bridge_of(settings) is None


def test_a_rate_is_of_the_last_interval() -> None:
    """Between two looks at the same life; a bridge that was started again begins anew."""
    later = replace(NOW, at=21_000, counts={"received": 1500})

    assert rates(later, NOW)["received"] == 1000
    assert rates(replace(later, since=20_500), NOW)["received"] == 3000


def test_every_route_has_a_rate_of_its_own() -> None:
    """Of the last interval; a route that a reload added, or whose count began anew, counts from 0; --once has none."""
    later = replace(
        NOW,
        at=22_000,
        routes=[
            RouteView("lyon/{class}/{asset}", "readings", 740, 3),
            RouteView("lyon/cells/{asset}", "cells", 10, 0),
        ],
    )

    assert route_rates(later, NOW) == [120, 5]
    assert route_rates(replace(later, routes=[RouteView("lyon/{class}/{asset}", "readings", 40, 0)]), NOW) == [20]
    assert "a second" in shown(later, NOW).split("routes")[1]
    assert re.search(r"cells\s+10\s+0\s+0\s+5\s*\n", shown(later, NOW))
    assert "a second" not in shown(later).split("routes")[1]


def test_eighty_columns_cut_no_word() -> None:
    """Headings, numbers, names of usual length and the last refusal of a route stay whole on a small terminal."""
    long = "bad-name: the asset name 'P 1' has a space, which a name of an asset may not have anywhere"
    route = RouteView("plant/{class}/{asset}", "readings", 12_345_678, 1_234_567, long)
    counts = dict.fromkeys(SHOWN, 12_345_678)
    now = replace(
        NOW, counts=counts, routes=[route, RouteView("", "dead-letters", 12, 12)], broker="mqtt.example.com:8883"
    )

    text = shown(now, replace(now, at=19_000), width=80)

    assert "…" not in text
    assert text.count("12,345,678") == len(SHOWN) + 1
    for word in (
        *SHOWN,
        "messages a second",
        "on the way to Kafka",
        route.match,
        route.to,
        "(none fits)",
        "Kafka topic",
    ):
        assert word.replace("_", " ") in text
    assert long in " ".join(text.split())


async def test_a_terminal_is_kept_up_to_date(tmp_path: Path) -> None:
    """On a terminal it looks again and again, also after the bridge was away; Ctrl-C ends it with 0."""
    folder = tmp_path / "edge" / "lyon"
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    told = {"HEADWATER_HOME": str(tmp_path), "HEADWATER_EDGE__SITE": "lyon", "TERM": "xterm", "COLUMNS": "150"}
    command = [sys.executable, "-m", "headwater", "edge", "top", "--interval", "0.1"]
    seen = ""

    async def until(what: str) -> None:
        nonlocal seen
        end = time.monotonic() + 30
        while what not in seen:
            assert time.monotonic() < end, seen
            await asyncio.sleep(0.02)
            with suppress(BlockingIOError):
                seen += os.read(ours, 65_536).decode(errors="replace")
        seen = ""

    numbers = iter(range(700, 10_000))
    async with served(folder, lambda: replace(NOW, pid=next(numbers))):
        process = await asyncio.create_subprocess_exec(
            *command, env=kept | told, stdin=theirs, stdout=theirs, stderr=theirs
        )
        try:
            await until("process 701")
            await until("process 703")
            (folder / SOCKET).unlink()
            await until("no bridge answers")
            async with served(folder, lambda: replace(NOW, pid=99)):
                await until("process 99")
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), 20) == 0
        finally:
            if process.returncode is None:
                process.kill()
    os.close(ours)
    os.close(theirs)
