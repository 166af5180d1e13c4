"""Another log under the same name while a link runs: a topic made again behind its back, and one that was cut short."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from headwater.transport.kafka_batch import Cluster, KafkaSettings, encode
from replicator.flow import Flow
from replicator.identity import Unwatched, others
from replicator.position import RECREATED, TRUNCATED, Position
from tests.brokers import Relayed
from tests.replicator.bed import Bed, numbered, until
from tests.replicator.silence import held_back, notices, places, segments
from tests.services import Broker


async def test_a_topic_made_again_while_nothing_was_fetched_is_shipped_whole(bed: Bed) -> None:
    """It has grown past the old position, and no fetch failed: its id tells, and nothing of it is left out."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 100, size=500)
    async with held_back(bed) as go_on:
        await bed.delete(bed.source, topic)
        await bed.topic(partitions=1)
        for first in range(1000, 1200, 20):
            await bed.write(topic, 0, encode([numbered(n, 500) for n in range(first, first + 20)]))
        go_on.set()
        await until(lambda: _ends_with(bed, topic, list(range(1000, 1200))), "all of the new topic is shipped")
    (gap,) = await bed.gaps()
    assert (gap.cause, gap.first, gap.resumed_at) == (RECREATED, 0, 0)
    assert await bed.arrived(topic) == [*range(gap.end), *range(1000, 1200)], "none is taken for one of the former"
    assert [(said.cause, said.first) for said in await notices(bed)] == [(RECREATED, 0)]


async def test_a_topic_made_again_is_shipped_whole_where_the_former_one_had_lost_its_beginning(bed: Bed) -> None:
    """What was shipped began at a later offset than the new topic does: that is no reason to leave anything out."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 20)
    await bed.trim(bed.source, topic, 0, 10)
    await bed.ship()
    await bed.delete(bed.source, topic)
    await bed.topic(partitions=1)
    await bed.write(topic, 0, *(encode([numbered(1000 + n)]) for n in range(30)))
    async with bed.link(bed.settings()):
        await until(lambda: bed.last_is(topic, 1029), "the new topic is shipped")
    assert await bed.arrived(topic) == [*range(10, 20), *range(1000, 1030)]


async def test_a_topic_made_again_behind_an_idle_link_is_told_before_anything_is_in_it(bed: Bed) -> None:
    """Nothing new has to come for that; what then comes is shipped whole, behind the former one's records."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 5)
    async with bed.link(bed.settings()) as task:
        await bed.shipped(task)
        await bed.delete(bed.source, topic)
        await bed.topic(partitions=1)
        await until(lambda: _is_told(bed), "it is told")
        await bed.write(topic, 0, encode([numbered(1000 + n) for n in range(7)]))
        await until(lambda: bed.last_is(topic, 1006), "the new topic is shipped")
    assert await bed.arrived(topic) == [*range(5), *range(1000, 1007)]
    assert [(g.cause, g.first, g.end, g.resumed_at) for g in await bed.gaps()] == [(RECREATED, 0, 5, 0)]


def test_what_was_not_fetched_for_a_moment_is_looked_at() -> None:
    """The id is asked for where a topic could have been made again unseen, and not with each fetch."""
    unwatched, one, two = Unwatched(), ("t", 0), ("t", 1)
    assert unwatched.rejoin([one, two], 1.0) == {one, two}
    assert unwatched.rejoin([one, two], 1.5) == set()
    assert unwatched.rejoin([one], 1.51) == set()
    assert unwatched.rejoin([one, two], 1.53) == set(), "it was left out for an instant"
    assert unwatched.rejoin([two], 1.6) == set()
    assert unwatched.rejoin([one, two], 2.0) == {one}
    assert unwatched.rejoin([], 2.1) == set()
    assert unwatched.rejoin([one, two], 2.2) == {one, two}


async def test_where_nobody_tells_the_id_nothing_that_was_fetched_is_taken() -> None:
    """It may be of a topic that was made again: those that ship a topic with an id look at it before they go on."""

    def ships(source_id: str) -> Flow:
        engine = SimpleNamespace(position=Position(0, 0, 10, 10, 10, source_id=source_id))
        return cast("Flow", SimpleNamespace(engine=engine))

    away = Cluster(KafkaSettings(brokers="127.0.0.1:1", connect_timeout_s=1.0), client_id="tests")
    flows = {("t", 0): ships("0a"), ("u", 0): ships("0b"), ("made before Kafka 2.8", 0): ships("")}
    assert await others(away, flows) == {("t", 0), ("u", 0)}


async def _ends_with(bed: Bed, topic: str, wanted: list[int]) -> bool:
    return (await bed.arrived(topic))[-len(wanted) :] == wanted


async def test_a_log_that_was_cut_short_is_noticed_by_a_running_link(
    private_kafka: Broker, cloud: Relayed, unique: str, tmp_path: Path
) -> None:
    """A source that comes back from a power cut without its end: what is lost is named, what is new is shipped."""
    edge = KafkaSettings(brokers=private_kafka.bootstrap, request_timeout_s=3.0)
    async with Cluster(edge, client_id="tests") as source, Cluster(cloud.plain, client_id="tests") as target:
        bed = Bed(unique[-30:].strip("-"), source, target, tmp_path / "log")
        topic = await bed.topic(partitions=1)
        await bed.fill(topic, 50)
        async with bed.link(bed.settings()) as task:
            await bed.shipped(task)
            await asyncio.sleep(0.5)  # a stored position has marks
            private_kafka.stop()
            (segment,) = segments(private_kafka.runner, private_kafka.name, topic)
            whole = segment.read_bytes()
            segment.write_bytes(whole[: places(whole)[3]])
            for index in segment.parent.glob("*.*index"):
                index.unlink()
            private_kafka.start()
            await until(lambda: _is_told(bed), "it is noticed before anything new comes")
            await bed.write(topic, 0, encode([numbered(1000 + n) for n in range(5)]))
            await until(lambda: bed.ends_at(topic, 0, 55), "what is new is shipped")
            assert not task.done()
        assert await bed.arrived(topic) == [*range(50), *range(1000, 1005)]
        assert [(g.cause, g.first, g.end, g.resumed_at) for g in await bed.gaps()] == [(TRUNCATED, 30, 50, 30)]
        assert [(said.cause, said.first, said.last) for said in await notices(bed)] == [(TRUNCATED, 30, 49)]


async def _is_told(bed: Bed) -> bool:
    return len(await notices(bed)) == 1
