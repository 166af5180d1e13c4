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
from replicator import link
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
    backup = await _backup(forgetful)
    await far.fill(topic, 30)
    far.produce(state, [Out(b"k%d" % n, b"%d " % n, (), now_ms()) for n in range(20, 40)])
    await far.ship()

    await asyncio.to_thread(forgetful.stop)
    await _restore(forgetful, backup)
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
    backup = await _backup(forgetful)
    far.produce(state, [Out(b"k%d" % n, b"%d " % n, (), now_ms()) for n in range(20, 40)])

    async with far.link(far.settings()) as task:
        await far.shipped(task)
        await asyncio.to_thread(forgetful.stop)
        far.produce(state, [Out(b"k%d" % n, b"%d " % n, (), now_ms()) for n in range(40, 60)])
        await _restore(forgetful, backup)
        await far.shipped(task)

    assert numbers(await far.data(far.target, remote(far.site, state), 0)) == list(range(60))
    assert not await far.gaps()


async def test_a_target_that_is_restored_while_nothing_is_written_gets_what_it_lacks(
    far: Bed, forgetful: Broker
) -> None:
    """The link has nothing to ship when all of the target, its positions too, is as it was at an earlier moment."""
    topic = await far.topic(partitions=2)
    await far.fill(topic, 20)
    await far.ship()
    backup = await _backup(forgetful)
    await far.fill(topic, 20)

    async with far.link(far.settings()) as task:
        await far.shipped(task)
        await until(lambda: _stored(far, topic, 40), "positions are stored")
        await asyncio.to_thread(forgetful.stop)
        await _restore(forgetful, backup)
        await far.shipped(task)

    await far.assert_same(topic)
    assert not await far.gaps()


async def test_an_era_that_a_restored_target_has_not_begun_is_begun_again(far: Bed, forgetful: Broker) -> None:
    """The running link is in an era that the restored positions do not know: none of it is written before they are."""
    topic = await far.topic(partitions=1)
    await far.fill(topic, 20)
    await far.ship()
    backup = await _backup(forgetful)
    await far.fill(topic, 20)
    await far.trim(far.source, topic, 0, 30)

    async with far.link(far.settings(position_interval_s=600.0)) as task:
        await until(lambda: far.last_is(topic, 39), "a new era is shipped")
        await asyncio.to_thread(forgetful.stop)
        await far.fill(topic, 10)
        await _restore(forgetful, backup)
        await until(lambda: far.last_is(topic, 49), "it goes on")
        assert not task.done()

    assert await far.arrived(topic) == [*range(20), *range(30, 50)]
    assert [(gap.cause, gap.first, gap.end, gap.era) for gap in await far.gaps()] == [("retention", 20, 30, 1)]
    await far.fill(topic, 5)
    async with far.link(far.settings()):
        await until(lambda: far.last_is(topic, 54), "another life goes on")


async def test_a_link_that_runs_for_long_is_not_forgotten(far: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who shipped a compacted topic is shut out by name, also when Kafka forgets names that rest."""
    monkeypatch.setattr(link, "_KEEP_NAME_S", 0.2)
    state = await far.topic("state", partitions=1, cleanup_policy=COMPACT["cleanup.policy"])
    far.produce(state, [Out(b"k", b"1 ", (), now_ms())])
    async with far.link(far.settings()):
        await until(lambda: far.last_is(state, 1), "its record is shipped")
        *_, batch = await far.batches(far.target, remote(far.site, state), 0)
        await _forgotten(far.target, far.site)
        drawn = await far.target.init_producer_id(f"replicator-{far.site}-{state}-0")
        assert drawn.id == batch.producer_id


async def _stored(bed: Bed, topic: str, count: int) -> bool:
    return (await bed.position(topic)).count == count


async def _backup(target: Broker) -> Path:
    """Copy its disk while it does not run; where the copy is."""
    data = target.runner.folder / target.name / "data"
    await asyncio.to_thread(target.stop)
    backup = await asyncio.to_thread(shutil.copytree, data, data.with_name("backup"))
    await asyncio.to_thread(target.start)
    return Path(backup)


async def _restore(target: Broker, backup: Path) -> None:
    """Bring the copy back to a target that does not run, and start it."""
    data = backup.with_name("data")
    await asyncio.to_thread(shutil.rmtree, data)
    await asyncio.to_thread(backup.rename, data)
    await asyncio.to_thread(target.start)
