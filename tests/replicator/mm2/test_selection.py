"""Topics by pattern, and what becomes of them while a link runs."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any, cast

import pytest
import structlog
from pydantic import ValidationError
from typer.testing import CliRunner

from headwater.contract.errors import BadInput
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch.administration import topic_configs
from headwater.transport.kafka_batch.alterations import set_topic_configs
from headwater.transport.retry import retrying
from replicator.cli import app
from replicator.mm2.naming import Naming
from replicator.mm2.refresh import Refresh
from replicator.mm2.settings import SelectionSettings
from replicator.opening import Topics
from replicator.settings import ReplicatorSettings
from replicator.targets import make_target
from tests.replicator.bed import Bed, numbered, until


def _settings(**more: Any) -> ReplicatorSettings:
    ends = {"source": {"brokers": "a:1"}, "target": {"brokers": "b:1"}}
    return ReplicatorSettings.model_validate({"site": "lyon", **ends, **more})


def test_patterns_choose_as_mirrormaker_does() -> None:
    """A pattern fits whole names; internal topics, replicas and what came from the target are never chosen by one."""
    everything = SelectionSettings(include=(".*",))
    naming = Naming("lyon", "cloud")
    refused = ["__consumer_offsets", "mm2-configs.lyon.internal", "t.replica", "cloud.hints", "paris.cloud.hints"]
    refused += ["lyon.positions.internal", "lyon.checkpoints.internal"]
    assert [topic for topic in refused if everything.fits(naming, topic)] == []
    assert all(everything.fits(naming, topic) for topic in ("t", "orders.v1", "paris.t", "some-internal"))
    some = SelectionSettings(include=("a.*", "b"), exclude=("ab.*",))
    assert [t for t in ("a", "ab", "abc", "ac", "b", "bb", "cab") if some.fits(naming, t)] == ["a", "ac", "b"]


def test_a_named_topic_that_would_go_round_is_refused() -> None:
    """What came from the target, or carries the own name already, is refused before anything is started."""
    for topic, why in (
        ("cloud.hints", "came from cloud"),
        ("paris.cloud.t", "came from cloud"),
        ("lyon.t", "replicated from lyon already"),
        ("lyon.positions.internal", "a link itself"),
    ):
        with pytest.raises(ValidationError, match=why):
            _settings(topics=[topic])
    assert _settings(topics=["paris.t", "orders.v1"]).way("orders.v1", 2).target == "lyon.orders.v1"


def test_with_patterns_the_topics_of_a_plant_are_not_shipped_unasked() -> None:
    """Patterns alone name no topic to wait for; patterns and names go together; neither is refused."""
    assert _settings(selection={"include": ["t.*"]}).topics == ()
    assert _settings(selection={"include": ["t.*"]}, topics=["readings"]).topics == ("readings",)
    assert "readings" in _settings().topics
    with pytest.raises(ValidationError, match="at least one topic"):
        _settings(topics=[])


def test_names_follow_the_settings() -> None:
    """The site is the prefix unless another is set, with any separator; names may be kept; clashes are refused."""
    assert _settings().way("readings", 0).target == "lyon.readings"
    other = _settings(naming={"source_alias": "A", "separator": "--"}, topics=["t"])
    assert other.way("t", 0).target == "A--t"
    assert _settings(naming={"keep_names": True}, topics=["t"]).way("t", 0).target == "t"
    with pytest.raises(ValidationError, match="nobody could tell them apart"):
        _settings(naming={"source_alias": "a_b", "separator": "_"})


async def test_a_new_topic_is_shipped_from_its_first_record(bed: Bed) -> None:
    """Topics made while the link runs are found within seconds, dots in their names or not, and called as set."""
    selection = {"include": (f"[nx].*{bed.site}",), "exclude": ("x.*",)}
    naming = {"separator": "_", "source_alias": bed.site}
    async with bed.link(bed.settings(selection=selection, naming=naming)) as task:
        for name in (f"new.topic-{bed.site}", f"x-{bed.site}", f"n-{bed.site}"):
            await bed.make(bed.source, name, 1)
            bed.produce(name, [numbered(0)])
        begun = time.monotonic()
        for name in (f"new.topic-{bed.site}", f"n-{bed.site}"):
            await until(lambda: bed.holds(f"{bed.site}_{name}", 1), f"{name} is shipped")  # noqa: B023  # awaited here
        assert time.monotonic() - begun < 10
        assert not task.done()
    with pytest.raises(BadInput):
        await bed.target.partitions(f"{bed.site}_x-{bed.site}")


async def test_topics_may_keep_their_names(bed: Bed) -> None:
    """With kept names a topic arrives under its own name, whole."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 20)
    async with bed.link(bed.settings(naming={"keep_names": True})):
        await until(lambda: bed.holds(topic, 20), "all is shipped")
    assert await bed.contents(bed.target, topic) == await bed.contents(bed.source, topic)


async def test_added_partitions_are_added_and_shipped(bed: Bed) -> None:
    """Partitions added at the source are added at the target and shipped, of compacted topics too, over a restart."""
    plain, compacted = await bed.topic("p", 1), await bed.topic("c", 1, cleanup_policy="compact")
    selection = {"refresh_s": 0.2}
    for topic in (plain, compacted):
        await bed.fill(topic, 5)
    async with bed.link(bed.settings(selection=selection)) as task:
        await bed.shipped(task)
        for topic in (plain, compacted):
            bed.add_partitions(bed.source, topic, 3)
            bed.partitions[topic] = 3
            await until(lambda: _has(bed, f"{bed.site}.{topic}", 3), "partitions are added")  # noqa: B023  # awaited here
            leaders = partial(bed.source.offsets, topic, "latest")
            await retrying("waiting for leaders", leaders, deadline_s=20, first_s=0.02)
            await bed.fill(topic, 5)
        await bed.shipped(task)
    for topic in (plain, compacted):
        await bed.fill(topic, 5)
    await bed.ship(selection=selection)
    await bed.assert_same(plain)
    for partition in range(3):
        assert await bed.arrived(compacted, partition) == list(range([15, 10, 10][partition]))


async def _has(bed: Bed, topic: str, partitions: int) -> bool:
    return await bed.target.partitions(topic) == partitions


async def test_a_target_with_too_few_partitions_is_widened(bed: Bed) -> None:
    """A target topic that somebody made with fewer partitions gets as many as the source has, never fewer."""
    name = f"{bed.site}.wide"
    await bed.make(bed.target, name, 2)
    await make_target(bed.target, name, TopicSpec("wide", 3), 1)
    assert await bed.target.partitions(name) == 3
    await make_target(bed.target, name, TopicSpec("wide", 1), 1)
    assert await bed.target.partitions(name) == 3


async def test_configurations_are_carried_over_and_drift_is_told(bed: Bed) -> None:
    """What is set at the source is set at the target; a later difference is told once, and left or followed as set."""
    topic = await bed.topic(partitions=1, segment_bytes="1048576", retention_ms="86400000", min_insync_replicas="1")
    name, asked = f"{bed.site}.{topic}", ["segment.bytes", "retention.ms", "compression.type"]
    watching = {"selection": {"refresh_s": 0.1}, "topic_configs": {"refresh_s": 0.1}}
    with structlog.testing.capture_logs() as logs:
        async with bed.link(bed.settings(**watching)):
            await until(lambda: bed.holds(name, 0), "the target is made")
            assert await topic_configs(bed.target, name, asked) == {
                "segment.bytes": "1048576",
                "retention.ms": "86400000",
                "compression.type": "producer",
            }
            await set_topic_configs(bed.source, topic, {"retention.ms": "3600000"})
            await until(lambda: _said(logs, "configurations differ"), "the difference is told")
            shown = await asyncio.to_thread(CliRunner().invoke, app, ["status"], env=_environment(bed, topic))
            assert f"{name}: retention.ms is 86400000, " in shown.output
            await set_topic_configs(bed.target, name, {"retention.ms": "3600000"})
            await until(lambda: _said(logs, "configurations agree again"), "its end is told")
    assert [e["differ"] for e in logs if e["event"] == "configurations differ"] == [
        {"retention.ms": {"source": "3600000", "target": "86400000"}}
    ]
    await set_topic_configs(bed.source, topic, {"retention.ms": "7200000"})
    watching["topic_configs"]["follow"] = True
    async with bed.link(bed.settings(**watching)):
        await until(lambda: _is_kept(bed, name, "7200000"), "the target follows")


class _Carried:
    """Two topics that are under way."""

    def __init__(self, *topics: str) -> None:
        self.flows = {topic: [object()] for topic in topics}


async def test_a_topic_without_a_target_does_not_hide_the_drift_of_others(bed: Bed) -> None:
    """The target of one was deleted: the configurations of the next one are compared all the same."""
    gone, other = await bed.topic("gone", partitions=1), await bed.topic("other", partitions=1, retention_ms="3600000")
    await bed.make(bed.target, f"{bed.site}.{other}", 1, retention_ms="86400000")
    settings = bed.settings(gone, other, selection={"refresh_s": 0.1}, topic_configs={"refresh_s": 0.1})
    refresh = Refresh(settings, bed.source, bed.target, cast("Topics", _Carried(gone, other)))
    looking = asyncio.create_task(refresh.run(None))

    async def is_told() -> bool:
        return refresh.drift.get(other, {}).get("retention.ms") == ("3600000", "86400000")

    try:
        await until(is_told, "the difference is told")
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


def _environment(bed: Bed, topic: str) -> dict[str, str]:
    prefix = "HEADWATER_REPLICATOR__"
    ends = {f"{prefix}{end}__BROKERS": getattr(bed, end.lower()).settings.brokers for end in ("SOURCE", "TARGET")}
    return {**ends, f"{prefix}SITE": bed.site, f"{prefix}TOPICS": f'["{topic}"]'}


async def _said(logs: list[structlog.typing.EventDict], event: str) -> bool:
    return any(entry["event"] == event for entry in logs)


async def _is_kept(bed: Bed, name: str, retention_ms: str) -> bool:
    return (await topic_configs(bed.target, name, ["retention.ms"]))["retention.ms"] == retention_ms
