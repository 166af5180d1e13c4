"""`headwater doctor` on a bridge that runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from edge_agent.bridge.clockwatch import ClockView
from edge_agent.bridge.live import Snapshot, SparkplugView, SpoolView, served
from headwater.app.doctor.bridge import check_bridge
from headwater.app.doctor.finding import Finding

WELL = Snapshot(
    running=True,
    connected=True,
    counts={"received": 1500},
    clocks=ClockView(known=9),
    spool=SpoolView(1 << 20, 1 << 30, records=5, age_ms=3000),
)


async def found(folder: Path, now: Snapshot) -> dict[str, Finding]:
    async with served(folder, lambda: now):
        findings = await asyncio.to_thread(check_bridge, "edge.bridge", folder)
    return {finding.check: finding for finding in findings}


async def test_a_bridge_that_is_well_is_good_in_every_check(tmp_path: Path) -> None:
    """Process, accounts, clocks and spool; nothing is said of a spool where there is none."""
    states = {name: finding.state for name, finding in (await found(tmp_path, WELL)).items()}

    assert states == {f"edge.bridge {name}": "good" for name in ("process", "accounts", "clocks", "spool")}
    assert "edge.bridge spool" not in await found(tmp_path, replace(WELL, spool=None))


async def test_a_bridge_that_does_not_work_is_named_with_what_to_do(tmp_path: Path) -> None:
    """None, with or without a spool left on disk; one that starts; one without MQTT broker, or whose Kafka stands."""
    (none,) = check_bridge("edge.bridge", tmp_path)
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "a.0.1.spool").write_bytes(bytes(3 << 20))
    (left,) = check_bridge("edge.bridge", tmp_path)
    seen = [
        (await found(tmp_path, now))["edge.bridge process"]
        for now in (
            replace(WELL, running=False, connected=False, last_error="waiting: connecting to Kafka"),
            replace(WELL, connected=False),
            replace(WELL, standstill_s=34.0),
        )
    ]

    assert {each.state for each in (none, left, *seen)} == {"warning"}
    assert "headwater edge run" in none.fix
    assert "spool" not in none.says
    assert "its spool has 3.0 MiB, in which messages may wait" in left.says
    assert "STARTING" in seen[0].says
    assert "its last error: waiting: connecting to Kafka" in seen[0].says
    assert "the MQTT broker runs" in seen[1].fix
    assert "Kafka has taken nothing for 34 s" in seen[2].says


async def test_a_message_that_is_not_accounted_for_is_bad(tmp_path: Path) -> None:
    """It is a defect, and what to keep for its report is said."""
    accounts = (await found(tmp_path, replace(WELL, unaccounted=-2)))["edge.bridge accounts"]

    assert accounts.state == "bad"
    assert "headwater edge top --json" in accounts.fix


async def test_clocks_that_are_off_and_a_full_spool_are_warnings(tmp_path: Path) -> None:
    """Assets and their distance are named; of the spool how full it is."""
    clocks = ClockView(known=9, off=2, furthest={"p1": -7_200_000, "p2": 60_000})
    spool = SpoolView(900, 1000, records=5, age_ms=3000)
    findings = await found(tmp_path, replace(WELL, clocks=clocks, spool=spool))

    assert findings["edge.bridge clocks"].state == findings["edge.bridge spool"].state == "warning"
    assert "p1 7,200 s ahead, p2 60 s behind" in findings["edge.bridge clocks"].says
    assert findings["edge.bridge spool"].says.startswith("90% full, 5 messages wait")


async def test_edge_nodes_without_births_are_named_with_what_to_do(tmp_path: Path) -> None:
    """Unknown aliases, messages lost, data of nobody: by edge node; a passive host is told that it asks nobody."""
    well = SparkplugView(role="active", edge_nodes=3, online=3, devices=40)
    gapped = {"gapped": 1, "gapped_named": ("north/line-1",), "events": {"refused unknown-metric": 7}}
    unborn = {"unborn": 2, "unborn_named": ("north/line-2", "north/line-3")}
    seen = {}
    for name, view in {
        "well": well,
        "gapped": replace(well, **gapped),
        "unborn": replace(well, **unborn),
        "passive": replace(well, **unborn, role="passive"),
    }.items():
        findings = await found(tmp_path, replace(WELL, sparkplug=view))
        seen[name] = findings["edge.bridge sparkplug births"]
        assert "edge.bridge sparkplug host" not in findings

    assert {name: each.state for name, each in seen.items()} == {
        "well": "good",
        "gapped": "warning",
        "unborn": "warning",
        "passive": "warning",
    }
    assert "7 messages since its start have an alias or name that no birth had" in seen["gapped"].says
    assert "north/line-1" in seen["gapped"].says
    assert "north/line-2, north/line-3" in seen["unborn"].says
    assert "spBv1.0/+/NCMD/+" in seen["unborn"].fix
    assert "set the role active" in seen["passive"].fix


async def test_a_primary_host_that_is_offline_is_bad(tmp_path: Path) -> None:
    """Edge nodes keep their data then; a second host of the same name is suspected where somebody contradicts."""
    host = SparkplugView(role="primary", host_id="scada")
    twice = replace(host, events={"state-republished": 2})
    seen = [
        (await found(tmp_path, replace(WELL, sparkplug=view, connected=connected)))["edge.bridge sparkplug host"]
        for view, connected in ((host, True), (host, False), (twice, True))
    ]

    assert [each.state for each in seen] == ["good", "bad", "warning"]
    assert "primary host scada is offline" in seen[1].says
    assert "second host" in seen[2].fix
