"""The way down is as visible as the way up: status, watch, plan, metrics, proof, and what stands still in it."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest

from headwater.contract.errors import BadInput, Transient
from headwater.transport.kafka_batch import encode
from tests.edge_agent.box import free_port
from tests.replicator.bed import Bed, numbered, until
from tests.replicator.operating.test_commands import Desk, scraped


class Both(Desk):
    """A site that has hints from the cloud, too."""

    hints: str

    @property
    def arrived(self) -> str:
        """What they are called at the site."""
        return f"cloud.{self.hints}"

    async def hint(self, count: int) -> None:
        """The cloud says something."""
        end = (await self.bed.target.offsets(self.hints, "latest"))[0]
        batch = encode([numbered(n) for n in range(end, end + count)])
        assert (await self.bed.target.produce([(self.hints, 0, batch)]))[0].error == 0

    async def has(self, count: int) -> bool:
        """Whether so many are at the site."""
        try:
            return (await self.bed.source.offsets(self.arrived, "latest"))[0] == count
        except (BadInput, Transient):  # not there yet
            return False


@pytest.fixture
async def both(bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    """The site's keyboard, with a topic for each direction."""
    desk = Both(bed, tmp_path / "home")
    desk.hints = f"hints-{bed.site}"
    await bed.make(bed.target, desk.hints, 1)
    command = desk.command

    def with_hints(settings: None = None, **more: str) -> tuple[list[str], dict[str, str]]:
        return command(settings, HEADWATER_REPLICATOR__DOWN__TOPICS=json.dumps([desk.hints]), **more)

    monkeypatch.setattr(desk, "command", with_hints)
    return desk


async def test_the_way_down_is_seen_measured_and_proven(both: Both) -> None:
    """Each command shows both ways; metrics tell them apart; `verify --down` finds what came down proven."""
    bed, port = both.bed, free_port()
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 10)
    await both.hint(7)
    code, text = await both.says("plan")
    assert (code, [line.split()[:4] for line in text.splitlines()[2:4]]) == (
        0,
        [["up", topic, f"{bed.site}.{topic}", "create"], ["down", both.hints, both.arrived, "create"]],
    )
    async with both.running(HEADWATER_REPLICATOR__METRICS_PORT=str(port)):
        await until(partial(both.has, 7), "the hints are at the site")
        await until(partial(bed.ends_at, topic, 0, 10), "the readings are in the cloud")
        seen = await both.tells("watch")
        assert (seen["direction"], seen["down"]["direction"], seen["down"]["partitions"][0]["records"]) == (
            "up",
            "down",
            7,
        )
        text = (await both.says("watch"))[1]
        assert [line.split()[:3] for line in text.splitlines() if line.startswith(("up ", "down "))] == [
            ["up", topic, "up"],
            ["down", both.hints, "up"],
        ]
        metrics = await asyncio.to_thread(scraped, port)
        assert (await both.says("pause", both.hints))[0] == 0
        assert both.hints in (await both.says("status"))[1]
        assert (await both.says("resume", both.hints))[0] == 0
    for direction, name, count in (("up", topic, 10), ("down", both.hints, 7)):
        labels = f'{{direction="{direction}",site="{bed.site}",topic="{name}"}}'
        assert metrics[f"headwater_replicator_shipped_records_total{labels}"] == count
        assert metrics[f"headwater_replicator_halted_partitions{labels}"] == 0
    mirrored = f'{{partition="0",source="cloud",target="{bed.site}",topic="{both.arrived}"}}'
    assert metrics[f"kafka_connect_mirror_mirrorsourceconnector_record_count{mirrored}"] == 7
    code, text = await both.says("status")
    rows = {line.split()[0]: line.split() for line in text.splitlines()[1:3]}
    assert (code, rows["up"][1], rows["down"][1], rows["down"][-1]) == (0, f"{bed.site}.{topic}", both.arrived, "7")
    code, text = await both.says("verify", "--down", "--target-only")
    assert (code, text.splitlines()[1].split()[:4]) == (0, [f"{both.hints}[0]", "target", "1", "7"])
    (found,) = await both.tells("verify", "--down")
    assert (found["topic"], found["compared"], found["missing"]) == (both.hints, 7, 0)


async def test_what_stands_still_on_the_way_down_does_not_hide(both: Both) -> None:
    """The way up goes on; status in every form and the process in the end say what halted, and with which code."""
    bed = both.bed
    topic = await bed.topic(partitions=1)
    await both.hint(10)
    async with both.running():
        await until(partial(both.has, 10), "the hints are at the site")
    await both.hint(10)
    await bed.trim(bed.target, both.hints, 0, 15)
    line, env = both.command(HEADWATER_REPLICATOR__ON_GAP="halt")
    with bed.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(*line, "run", env=env, stdout=log, stderr=log)
    try:

        async def told() -> bool:
            return (await both.says("status", "--local"))[0] == 8

        await until(told, "the halt is told")
        await bed.fill(topic, 5)
        await until(partial(bed.ends_at, topic, 0, 5), "the way up goes on")
        code, text = await both.says("status")
        assert (code, f"halted: {both.hints}[0]: offsets 10 to 14 were deleted" in text) == (8, True)
        assert "the way down has ended" in text
        code, text = await both.says("watch")
        assert f"{both.hints}[0] stands still" in " ".join(text.split())
        assert process.returncode is None
    finally:
        process.terminate()
        ended = await asyncio.wait_for(process.wait(), 30)
    assert ended == 8
    assert (await both.says("status"))[0] == 8
