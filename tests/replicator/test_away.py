"""After a month away, and after the target was restored from a backup, a link goes on exactly where it was."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bench.brokers import Extended
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Runner
from headwater.contract.topics import COMPACT, remote
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Out
from tests.replicator.bed import Bed, now_ms, numbers, until
from tests.services import Broker

# A month in a second: whatever Kafka forgets with time.
_FORGETFUL = """\
transactional.id.expiration.ms=1000
transaction.remove.expired.transaction.cleanup.interval.ms=300
producer.id.expiration.ms=1000
producer.id.expiration.check.interval.ms=200
"""
_PROBES = 40


@pytest.fixture(scope="module")
def forgetful(service_runner: Runner, kafka_tools: KafkaTools) -> Iterator[Broker]:
    """A target that forgets producer ids and transactional ids within seconds."""
    service = Extended(KafkaService("forgetful", lambda: kafka_tools), _FORGETFUL)
    service_runner.start(service)
    yield Broker(service.name, service_runner.address(service), service_runner, service)
    service_runner.stop(service.name, grace_s=2.0)


@pytest.fixture
async def far(kafka: str, forgetful: Broker, unique: str, tmp_path: Path) -> AsyncIterator[Bed]:
    """A link to that target."""
    settings = KafkaSettings(brokers=forgetful.bootstrap)
    async with (
        Cluster(KafkaSettings(brokers=kafka), client_id="tests") as source,
        Cluster(settings, client_id="tests") as target,
    ):
        yield Bed(unique[-30:].strip("-"), source, target, tmp_path / "replicator.log")


async def _forgotten(target: Cluster, site: str) -> None:
    """Wait until the target has forgotten a transactional id that is younger than all that the link has used."""
    names = [f"probe-{site}-{number}" for number in range(_PROBES)]
    drawn = [await target.init_producer_id(name) for name in names]
    turn = iter(zip(names, drawn, strict=True))

    async def forgotten() -> bool:
        await asyncio.sleep(0.25)  # each probe is asked for once only, since asking makes it young again
        name, before = next(turn)
        return (await target.init_producer_id(name)).id != before.id

    await until(forgotten, "transactional ids are forgotten")


async def test_a_link_goes_on_after_a_month(far: Bed) -> None:
    """Producer ids and transactional ids have expired, and there are no group offsets: nothing is lost or doubled."""
    topic = await far.topic(partitions=2)
    state = await far.topic("state", partitions=1, cleanup_policy=COMPACT["cleanup.policy"])
    await far.fill(topic, 30)
    far.produce(state, [Out(b"k%d" % n, b"%d " % n, (), now_ms()) for n in range(20)])
    await far.ship_and_die()
    await _forgotten(far.target, far.site)
    for partition in range(2):
        states = (await far.target.describe_producers(remote(far.site, topic), [partition]))[partition]
        assert not states

    await far.fill(topic, 30)
    far.produce(state, [Out(b"k%d" % n, b"%d " % n, (), now_ms()) for n in range(20, 40)])
    await far.ship()

    for partition in range(2):
        assert await far.arrived(topic, partition) == list(range(60))
    await far.assert_same(topic)
    assert numbers(await far.data(far.target, remote(far.site, state), 0)) == list(range(40))
    assert not await far.gaps()


async def test_a_target_that_was_restored_from_a_backup_gets_what_it_lacks(far: Bed, forgetful: Broker) -> None:
    """Everything of the target is as it was at an earlier moment, the link's own topics too: records come again."""
    topic = await far.topic(partitions=2)
    state = await far.topic("state", partitions=1, cleanup_policy=COMPACT["cleanup.policy"])
    await far.fill(topic, 30)
    far.produce(state, [Out(b"k%d" % n, b"%d " % n, (), now_ms()) for n in range(20)])
    await far.ship()
    data = forgetful.runner.folder / forgetful.name / "data"
    await asyncio.to_thread(forgetful.stop)
    await asyncio.to_thread(shutil.copytree, data, data.with_name("backup"))
    await asyncio.to_thread(forgetful.start)
    await far.fill(topic, 30)
    far.produce(state, [Out(b"k%d" % n, b"%d " % n, (), now_ms()) for n in range(20, 40)])
    await far.ship()

    await asyncio.to_thread(forgetful.stop)
    await asyncio.to_thread(shutil.rmtree, data)
    await asyncio.to_thread(data.with_name("backup").rename, data)
    await asyncio.to_thread(forgetful.start)
    await until(lambda: far.ends_at(topic, 0, 30), "the target is as it was")
    await far.ship()

    for partition in range(2):
        assert await far.arrived(topic, partition) == list(range(60))
    await far.assert_same(topic)
    assert numbers(await far.data(far.target, remote(far.site, state), 0)) == list(range(40))
    assert not await far.gaps()


async def test_a_target_that_is_restored_under_a_running_link_gets_what_it_lacks(far: Bed, forgetful: Broker) -> None:
    """It knows nothing of this life, and would take what is under way behind a log that lacks what lies before it."""
    state = await far.topic("state", partitions=1, cleanup_policy=COMPACT["cleanup.policy"])
    far.produce(state, [Out(b"k%d" % n, b"%d " % n, (), now_ms()) for n in range(20)])
    await far.ship()
    data = forgetful.runner.folder / forgetful.name / "data"
    await asyncio.to_thread(forgetful.stop)
    await asyncio.to_thread(shutil.copytree, data, data.with_name("backup"))
    await asyncio.to_thread(forgetful.start)
    far.produce(state, [Out(b"k%d" % n, b"%d " % n, (), now_ms()) for n in range(20, 40)])

    async with far.link(far.settings()) as task:
        await far.shipped(task)
        await asyncio.to_thread(forgetful.stop)
        far.produce(state, [Out(b"k%d" % n, b"%d " % n, (), now_ms()) for n in range(40, 60)])
        await asyncio.to_thread(shutil.rmtree, data)
        await asyncio.to_thread(data.with_name("backup").rename, data)
        await asyncio.to_thread(forgetful.start)
        await far.shipped(task)

    assert numbers(await far.data(far.target, remote(far.site, state), 0)) == list(range(60))
    assert not await far.gaps()
