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
from headwater.transport.kafka_batch import restamp
from headwater.transport.kafka_batch.alterations import all_topics, set_topic_configs
from replicator.operating.pausing import paused
from replicator.settings import ReplicatorSettings
from tests import commands
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
        _, env = self.command(settings, **more)
        code, out, err = await commands.run(["replicate", *words], env)
        return code, out + err

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
    first = {"HEADWATER_REPLICATOR__LINK__FRESH_FIRST__TOPICS": json.dumps([known])}
    code, text = await desk.says("plan", settings=settings, **first)
    found = await desk.tells("plan", settings=settings, **first)
    assert await all_topics(bed.target) == before
    actions = {each["topic"]: each["action"] for each in found["topics"]}
    assert actions == {fresh: "create", known: "ship", spoilt: "refuse", "absent": "wait"}
    by_name = {each["topic"]: each for each in found["topics"]}
    assert (by_name[fresh]["records"], by_name[fresh]["is_new"], by_name[fresh]["engine"]) == (60, True, "batch")
    assert by_name[known]["drift"]["retention.ms"][1] == "3600000"
    assert (by_name[fresh]["backlog"], by_name[known]["backlog"]) == ("", f"{remote(bed.site, known)}.backlog")
    assert f"{known}: what is late goes to {remote(bed.site, known)}.backlog" in text
    assert "LogAppendTime" in by_name[spoilt]["why"]
    assert by_name["absent"]["hint"] == "it is shipped as soon as it is there", "no program of ours makes it"
    assert code == 3
    assert f"{remote(bed.site, known)}: retention.ms is 3600000" in text
    one = {"NAMING__KEEP_NAMES": "true", "TARGET__BROKERS": bed.source.settings.brokers}
    code, text = await desk.says("plan", **{f"HEADWATER_REPLICATOR__{name}": value for name, value in one.items()})
    assert (code, "source and target are one cluster" in text) == (3, True), "as `run` says"
    code, text = await desk.says("plan", HEADWATER_REPLICATOR__TARGET__BROKERS=f"127.0.0.1:{free_port()}")
    assert (code, "the target (replicator.target.brokers): broker 127.0.0.1" in text) == (5, True)
    assert "Errno" not in text


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
        assert metrics[f'headwater_replicator_eta_seconds{{direction="up",site="{bed.site}"}}'] == 0.0
        assert metrics[f'headwater_replicator_round_trip_seconds{{direction="up",site="{bed.site}"}}'] > 0
        code, text = await desk.says("run", HEADWATER_REPLICATOR__METRICS_PORT=str(port))
        assert (code, f"a replicator of {bed.site} runs already here, process " in text) == (4, True)
        code, text = await desk.says("pause", topic, "--why", "tests")
        assert (code, "tests" in text) == (0, True)

        async def stands() -> bool:
            return bool((await desk.tells("watch"))["partitions"][0]["state"] == "paused")

        await until(stands, "the link has paused the topic")
    held = (await paused(bed.source, bed.site))[topic]
    assert (held.why, bool(held.by)) == ("tests", True)
    assert (await desk.says("pause", topic))[0] == 0
    assert (await paused(bed.source, bed.site))[topic] == held, "the first reason stays"
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


async def test_status_answers_while_clusters_are_away(desk: Desk) -> None:
    """It says what the replicator of this machine told last, since when and who is away, and ends with 5."""
    bed = desk.bed
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 20)
    away = {"HEADWATER_REPLICATOR__TARGET__BROKERS": f"127.0.0.1:{free_port()}"}
    code, text = await desk.says("status", **away)
    assert (code, "no replicator has run on this machine" in text) == (5, True)
    async with desk.running():
        await until(partial(bed.holds, remote(bed.site, topic), 20), "all is shipped")
    code, text = await desk.says("status")
    assert (code, "up to date" in text) == (0, True)
    await bed.fill(topic, 7)
    found = await desk.tells("status", **away)
    part = found["topics"][0]["partitions"][0]
    assert (part["state"], part["shipped"], part["lag_records"], part["safe_to_delete"]) == ("behind", 20, 7, 20)
    assert (list(found["away"]), found["is_live"]) == (["target"], False)
    away["HEADWATER_REPLICATOR__SOURCE__BROKERS"] = away["HEADWATER_REPLICATOR__TARGET__BROKERS"]
    code, text = await desk.says("status", **away)
    assert code == 5
    assert "the source is away: " in text
    assert "what follows is what the replicator of this machine told at " in text
    assert remote(bed.site, topic) in text


async def test_a_halted_partition_does_not_hide(desk: Desk) -> None:
    """The process ships the others, but status, --check and --local end with its trouble's code; --check finds lag."""
    bed = desk.bed
    good, bad = await bed.topic("good", partitions=1), await bed.topic("bad", partitions=1)
    for topic in (good, bad):
        await bed.fill(topic, 20)
    await bed.ship()
    code, text = await desk.says("status", "--check")
    assert (code, "up to date" in text) == (0, True)
    assert (await desk.says("status", "--local"))[0] == 5
    await bed.fill(bad, 20)
    assert [(await desk.says("status", *more))[0] for more in ((), ("--check", "--max-lag", "60"))] == [0, 5]
    await bed.trim(bed.source, bad, 0, 30)
    port = free_port()
    more = {"HEADWATER_REPLICATOR__ON_GAP": "halt", "HEADWATER_REPLICATOR__METRICS_PORT": str(port)}
    async with desk.running(**more):
        await bed.fill(good, 5)
        await until(partial(bed.holds, remote(bed.site, good), 25), "the good one goes on")

        async def told() -> bool:
            return bool((await desk.says("status", "--local"))[0] == 8)

        await until(told, "the halted one is told")
        metrics = await asyncio.to_thread(scraped, port)
        labels = f'{{direction="up",site="{bed.site}",topic="{bad}"}}'
        assert metrics[f"headwater_replicator_halted_partitions{labels}"] == 1
        for words in (("status",), ("status", "--check")):

            async def stored(words: tuple[str, ...] = words) -> bool:
                code, text = await desk.says(*words)
                assert (code, f"{bad}[0]" in text) == (8, True)
                return "halted" in text

            await until(stored, "how it stands is stored at the target")


async def test_verify_checks_one_side_at_the_keyboard(desk: Desk) -> None:
    """With the source away the target is verified alone, and what was done to it is named, with its exit code."""
    bed = desk.bed
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    away = {"HEADWATER_REPLICATOR__SOURCE__BROKERS": f"127.0.0.1:{free_port()}"}
    code, text = await desk.says("verify", "--target-only", **away)
    assert (code, "nothing is proven" in text) == (2, True)
    await bed.fill(topic, 40, size=20_000, batch=2)
    await bed.ship()
    code, text = await desk.says("verify", "--offline", **away)
    assert (code, text.splitlines()[1].split()[:4]) == (0, [f"{topic}[0]", "target", "1", "40"])
    (found,) = await desk.tells("verify", "--source-only")
    assert (found["side"], found["proven"], found["findings"]) == ("source", 40, [])
    ours = await bed.batches(bed.target, target, 0)
    await bed.delete(bed.target, target)
    await bed.make(bed.target, target, 1)
    for batch in [*ours[:7], *ours[9:]]:
        again = restamp(batch, producer_id=-1, epoch=-1, sequence=-1)
        assert (await bed.target.produce([(target, 0, again)]))[0].error == 0
    code, text = await desk.says("verify", "--target-only", **away)
    assert (code, f"dropped: {target}[0]: 4 records were dropped from offsets 14 to 17" in text) == (8, True)
