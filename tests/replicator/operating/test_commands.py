"""The commands about a link, as processes: what they say, do and end with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from headwater.contract.topics import remote
from headwater.transport.kafka_batch.alterations import all_topics, set_topic_configs
from replicator.operating.pausing import paused
from replicator.settings import ReplicatorSettings
from tests.edge_agent.box import free_port
from tests.replicator.bed import Bed, until


class Desk:
    """Somebody at the keyboard of the site."""

    def __init__(self, bed: Bed, home: Path) -> None:
        self.bed, self.home = bed, home

    def command(self, settings: ReplicatorSettings | None = None, **more: str) -> tuple[list[str], dict[str, str]]:
        """The words before a command's name, and the environment."""
        line, env = self.bed.command(settings or self.bed.settings())
        return line[:-1], {**env, "HEADWATER_HOME": str(self.home), "NO_COLOR": "1", "COLUMNS": "100", **more}

    async def says(self, *words: str, settings: ReplicatorSettings | None = None, **more: str) -> tuple[int, str]:
        """Exit code and all that is printed."""
        line, env = self.command(settings, **more)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*line, *words, env=env, stdout=pipe, stderr=pipe)
        out, err = await asyncio.wait_for(process.communicate(), 40)
        return process.returncode or 0, (out + err).decode()

    async def tells(self, *words: str, **more: Any) -> Any:
        """What is printed with --json; the exit code is not looked at."""
        return json.loads((await self.says(*words, "--json", **more))[1])

    @asynccontextmanager
    async def running(self, **more: str) -> AsyncIterator[None]:
        """A replicator process."""
        line, env = self.command(**more)
        with self.bed.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(*line, "run", env=env, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            await asyncio.wait_for(process.wait(), 30)


@pytest.fixture
def desk(bed: Bed, tmp_path: Path) -> Desk:
    """The site's keyboard."""
    return Desk(bed, tmp_path / "home")


async def test_plan_says_what_would_be_done_and_does_nothing(desk: Desk) -> None:
    """Topics to be created, shipped, waited for and refused, records, drift: and both clusters are as they were."""
    bed = desk.bed
    fresh, known, spoilt = [await bed.topic(stem, partitions=2) for stem in ("fresh", "known", "spoilt")]
    await bed.fill(fresh, 30)
    await bed.make(bed.target, remote(bed.site, spoilt), 2, message_timestamp_type="LogAppendTime")
    async with bed.link(bed.settings(known)):
        await until(partial(bed.holds, remote(bed.site, known), 0), "a topic is there")
    await set_topic_configs(bed.target, remote(bed.site, known), {"retention.ms": "3600000"})
    before = await all_topics(bed.target)
    settings = bed.settings(fresh, known, spoilt, "absent")
    code, text = await desk.says("plan", settings=settings)
    found = await desk.tells("plan", settings=settings)
    assert await all_topics(bed.target) == before
    actions = {each["topic"]: each["action"] for each in found["topics"]}
    assert actions == {fresh: "create", known: "ship", spoilt: "refuse", "absent": "wait"}
    by_name = {each["topic"]: each for each in found["topics"]}
    assert (by_name[fresh]["records"], by_name[fresh]["is_new"], by_name[fresh]["engine"]) == (60, True, "batch")
    assert by_name[known]["drift"]["retention.ms"][1] == "3600000"
    assert "LogAppendTime" in by_name[spoilt]["why"]
    assert code == 3
    assert f"{remote(bed.site, known)}: retention.ms is 3600000" in text


async def test_a_running_link_is_watched_measured_and_paused(desk: Desk) -> None:
    """Its figures on the screen, as JSON, for Prometheus under MirrorMaker 2's names; a pause at the keyboard holds."""
    bed, port = desk.bed, free_port()
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 30)
    assert (await desk.says("watch"))[0] == 5
    async with desk.running(HEADWATER_REPLICATOR__METRICS_PORT=str(port)):
        await until(partial(bed.holds, remote(bed.site, topic), 30), "all is shipped")
        code, text = await desk.says("watch")
        assert (code, topic in text, "up to date" in text) == (0, True, True)
        assert (await desk.tells("watch"))["partitions"][0]["records"] == 30
        metrics = await asyncio.to_thread(scraped, port)
        labels = f'{{partition="0",source="{bed.site}",target="cloud",topic="{remote(bed.site, topic)}"}}'
        name = "kafka_connect_mirror_mirrorsourceconnector_"
        assert metrics[f"{name}record_count{labels}"] == 30.0
        assert {f"{name}{each}{labels}" for each in MIRRORED} <= metrics.keys()
        assert metrics[f'headwater_replicator_eta_seconds{{site="{bed.site}"}}'] == 0.0
        assert metrics[f'headwater_replicator_round_trip_seconds{{site="{bed.site}"}}'] > 0
        code, text = await desk.says("pause", topic, "--why", "tests")
        assert (code, "tests" in text) == (0, True)

        async def stands() -> bool:
            return bool((await desk.tells("watch"))["partitions"][0]["state"] == "paused")

        await until(stands, "the link has paused the topic")
    assert (await paused(bed.source, bed.site))[topic].why == "tests"
    code, text = await desk.says("resume", topic)
    assert (code, text.strip()) == (0, f"nothing of {bed.site} is paused")
    code, text = await desk.says("pause", "nonesuch")
    assert (code, "does not ship" in text) == (2, True)


MIRRORED = [
    "record_count", "record_rate", "byte_count", "byte_rate",
    "record_age_ms", "record_age_ms_min", "record_age_ms_max", "record_age_ms_avg",
    "replication_latency_ms", "replication_latency_ms_min", "replication_latency_ms_max", "replication_latency_ms_avg",
]  # fmt: skip


def scraped(port: int) -> dict[str, float]:
    """Prometheus's view, labels in the order of their names."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    found = {}
    for line in lines:
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            metric, brace, labels = name.partition("{")
            ordered = ",".join(sorted(labels.rstrip("}").split(","))) if brace else ""
            found[f"{metric}{{{ordered}}}" if brace else metric] = float(value)
    return found


async def test_a_site_is_trimmed_only_behind_the_proof(desk: Desk) -> None:
    """What is shipped but not proven stays, what is young stays; without --yes all stays."""
    bed = desk.bed
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 20)
    await bed.ship()
    await bed.fill(topic, 10)
    await bed.ship_and_die()
    await bed.fill(topic, 5)
    (found,) = await desk.tells("trim", "--keep-hours", "0")
    assert (found["first"], found["before"], found["end"], found["proven"], found["deleted"]) == (0, 20, 35, 20, False)
    assert (await bed.source.offsets(topic, "earliest"))[0] == 0
    code, text = await desk.says("trim", "--keep-hours", "2", "--yes")
    assert (code, (await bed.source.offsets(topic, "earliest"))[0]) == (0, 0)
    assert f"{topic}[0]" in text
    (found,) = await desk.tells("trim", "--topic", topic, "--keep-hours", "0", "--yes")
    assert (found["deleted"], (await bed.source.offsets(topic, "earliest"))[0]) == (True, 20)
    async with bed.link(bed.settings()):
        await until(partial(bed.holds, remote(bed.site, topic), 35), "what is left is shipped")
