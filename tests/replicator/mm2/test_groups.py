"""Consumer groups that move from the source to the target: exact to the record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import structlog
from confluent_kafka import Consumer, Producer
from prometheus_client import REGISTRY

from headwater.contract.errors import BadInput
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import TopicPartition, read_compacted
from headwater.transport.kafka_batch.groups import Committed, Groups
from replicator.mm2.formats import Checkpoint, OffsetSync, read_checkpoint, read_heartbeat, read_offset_sync
from replicator.mm2.translate import Translator
from replicator.running import run_link
from replicator.settings import ReplicatorSettings
from replicator.sharing.shares import SHARES
from tests.replicator.bed import Bed, numbered, put, until

PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", "consumer"])  # the second one is that of KIP-848
_LATENCY = "kafka_connect_mirror_mirrorcheckpointconnector_checkpoint_latency_ms"
QUICK = {"checkpoint_interval_s": 0.1, "heartbeat_interval_s": 0.1}


def _transactions(bed: Bed, topic: str, sizes: list[int]) -> None:
    """Write transactions of these sizes to partition 0; negative ones are aborted. Every one leaves a marker."""
    producer = Producer(
        {
            "bootstrap.servers": bed.source.settings.brokers,
            "transactional.id": bed.site,
            "linger.ms": 0,
            "batch.num.messages": 4,
            "log_level": 0,
        }
    )
    producer.init_transactions(30)
    number = 0
    for size in sizes:
        producer.begin_transaction()
        put(producer, topic, [numbered(number + n if size > 0 else 10_000) for n in range(abs(size))])
        if size > 0:
            producer.commit_transaction(30)
            number += size
        else:
            producer.flush(10)
            producer.abort_transaction(30)


async def _commit(bed: Bed, group: str, offsets: Mapping[TopicPartition, int]) -> None:
    """Have a group at the source stand at these offsets."""
    assert await Groups(bed.source).commit(group, {pair: Committed(offset) for pair, offset in offsets.items()})


async def _stands_at(bed: Bed, group: str, topic: str, offset: int | None, partition: int = 0) -> bool:
    """Whether a group at the target stands at an offset of the target of `topic`."""
    found = (await Groups(bed.target).committed(group)).get((remote(bed.site, topic), partition))
    return (found and found.offset) == offset


def _following(bed: Bed, **mm2: Any) -> ReplicatorSettings:
    return bed.settings(
        selection={"refresh_s": 0.2}, mm2={"sync_group_offsets": True, "groups": (f".*{bed.site}.*",), **QUICK, **mm2}
    )


async def test_every_offset_is_translated_to_the_record(bed: Bed) -> None:
    """Whatever offset a group stands at, markers and aborted records counted out, it reads no record twice or never."""
    topic = await bed.topic(partitions=1)
    _transactions(bed, topic, [3, -2, 5, 1, -4, 7, 2])
    await bed.fill(topic, 12, batch=5)
    _transactions(bed, topic, [-3, 4])
    await bed.ship()
    position, way = await bed.position(topic), bed.settings().way(topic, 0)
    committed = [record.offset for record in await bed.data(bed.source, topic, 0)]
    end = (await bed.source.offsets(topic, "latest"))[0]
    expected = [sum(offset < each for offset in committed) for each in range(end + 3)]
    for order in (range(end + 3), reversed(range(end + 3))):
        translator = Translator(bed.source, bed.target)
        found = {each: await translator.by_count(way, position, each) for each in order}
        assert [found[each] for each in range(end + 3)] == expected
    bare = Translator(bed.source, bed.target)  # nothing known but the ends
    assert await bare.by_count(way, position.__class__(**{**_fields(position), "trail": ()}), 9) == expected[9]


def _fields(position: Any) -> dict[str, Any]:
    return {name: getattr(position, name) for name in position.__struct_fields__}


async def test_records_that_the_source_has_deleted_do_not_make_a_group_skip(bed: Bed) -> None:
    """Where markers were deleted before they could be counted, a group may read again, and never skips."""
    topic = await bed.topic(partitions=1)
    _transactions(bed, topic, [3, -2, 5, 1, -4, 7, 2])
    await bed.ship()
    way, position = bed.settings().way(topic, 0), await bed.position(topic)
    committed = [record.offset for record in await bed.data(bed.source, topic, 0)]
    await bed.trim(bed.source, topic, 0, 12)
    translator = Translator(bed.source, bed.target)
    for offset in range(20):
        exact = sum(each < offset for each in committed)
        found = await translator.by_count(way, position, offset)
        assert found is not None
        assert found == exact if offset >= 12 else found <= exact


async def test_a_group_in_a_gap_goes_on_behind_it(bed: Bed) -> None:
    """Records that retention took are behind a group that stood there; one that stood before skips nothing left."""
    topic = await bed.topic(partitions=1)
    _transactions(bed, topic, [4, -3, 6])
    await bed.ship()
    shipped = (await bed.source.offsets(topic, "latest"))[0]
    await bed.fill(topic, 20)
    await bed.trim(bed.source, topic, 0, shipped + 8)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(remote(bed.site, topic), 22), "what is left is shipped")
    way, position = bed.settings().way(topic, 0), await bed.position(topic)
    translator = Translator(bed.source, bed.target)
    found = [await translator.by_count(way, position, offset) for offset in range(shipped + 20)]
    assert found[shipped:] == [10] * 9 + list(range(11, 22))
    exact = [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 5, 6, 7, 8, 9, 10]
    assert all(each is not None and each <= known for each, known in zip(found, exact, strict=False))


async def test_records_of_compacted_topics_are_found_by_their_headers(bed: Bed) -> None:
    """In a topic that goes record by record, a group goes on at the first record that it has not read."""
    topic = await bed.topic(partitions=1, cleanup_policy="compact")
    _transactions(bed, topic, [3, -2, 5, 1, -4, 7])
    await bed.ship()
    way, position = bed.settings().way(topic, 0), await bed.position(topic)
    committed = [record.offset for record in await bed.data(bed.source, topic, 0)]
    there = [record.offset for record in await bed.data(bed.target, way.target, 0)]
    for offset in range(committed[-1] + 3):
        found = await Translator(bed.source, bed.target).by_header(way, position, offset)
        assert sum(each < found for each in there) == sum(each < offset for each in committed)


@PROTOCOLS
async def test_a_group_that_moves_to_the_target_reads_nothing_twice(bed: Bed, protocol: str) -> None:
    """A consumer that stops in mid-topic at the source goes on at the target with the very next record."""
    topic = await bed.topic(partitions=1)
    _transactions(bed, topic, [4, -2, 6, 8, -1, 5])
    group = f"g-{bed.site}"
    read, offset = _consume(bed.source.settings.brokers, group, topic, 13, protocol)
    async with bed.link(_following(bed)):
        await until(lambda: bed.holds(remote(bed.site, topic), 23), "all is shipped")
        await until(lambda: _stands_at(bed, group, topic, 13), "the group stands at the target")
        again, _ = _consume(bed.target.settings.brokers, group, remote(bed.site, topic), 10, protocol)
        await _commit(bed, group, {(topic, 0): 3})
    assert offset > 13
    assert [value.split()[0] for value in read + again] == [b"%d" % n for n in range(23)]
    assert await _stands_at(bed, group, topic, 23), "a group never goes back at the target"


def _consume(brokers: str, group: str, topic: str, count: int, protocol: str) -> tuple[list[bytes], int]:
    """Read records as a member of a group and commit; the values, and the offset committed."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": group,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    found: list[bytes] = []
    message = None
    while len(found) < count:
        if (polled := consumer.poll(30)) is not None:
            assert not polled.error()
            message = polled
            found.append(polled.value() or b"")
    assert message is not None
    consumer.commit(message=message, asynchronous=False)
    consumer.close()
    return found, (message.offset() or 0) + 1


@PROTOCOLS
async def test_a_group_with_members_at_the_target_is_left_alone(bed: Bed, protocol: str) -> None:
    """While somebody reads at the target, the group's offsets are his; when he has gone, it follows again."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 30)
    group = f"g-{bed.site}"
    await _commit(bed, group, {(topic, 0): 5})
    with structlog.testing.capture_logs() as logs:
        async with bed.link(_following(bed)):
            await until(lambda: _stands_at(bed, group, topic, 5), "the group stands at the target")
            ours = {"bootstrap.servers": bed.target.settings.brokers, "group.id": group, "group.protocol": protocol}
            reader = Consumer({**ours, "log_level": 0})
            reader.subscribe([remote(bed.site, topic)])
            while reader.poll(0.2) is None:
                pass
            await _commit(bed, group, {(topic, 0): 20})
            await until(lambda: _told(logs, "is left alone"), "it is said that the group is active")
            assert await _stands_at(bed, group, topic, 5)
            reader.unsubscribe()
            reader.close()
            await until(lambda: _stands_at(bed, group, topic, 20), "the group follows again")
    assert sum(entry.get("what") == "is left alone" for entry in logs) == 1


async def _told(logs: list[structlog.typing.EventDict], what: str) -> bool:
    return any(entry.get("what") == what for entry in logs)


async def test_mirrormakers_records_are_written(bed: Bed) -> None:
    """Heartbeats, offset syncs and checkpoints are in the topics of MirrorMaker 2, and heartbeats are shipped."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 10)
    group, site = f"g-{bed.site}", bed.site
    await _commit(bed, group, {(topic, 0): 4, (topic, 1): 10})
    async with bed.link(_following(bed, publish=True).model_copy(update={"metrics_port": 0})):
        await until(lambda: bed.holds(f"{site}.{topic}", 10), "all is shipped")
        await until(lambda: bed.holds(f"{site}.heartbeats", 1, more=True), "heartbeats are shipped")
        await until(lambda: _stands_at(bed, group, topic, 10, 1), "the group stands at the target")
        await until(lambda: _synced(bed, topic), "offsets are told")
        await _commit(bed, group, {(topic, 0): 7})
        await until(lambda: _stands_at(bed, group, topic, 7), "the group moves at the target")
    kept = await read_compacted(bed.target, f"{site}.checkpoints.internal", 0)
    assert {read_checkpoint(key, record.value) for key, record in kept.items()} == {
        Checkpoint(group, f"{site}.{topic}", 0, 7, 7),
        Checkpoint(group, f"{site}.{topic}", 1, 10, 10),
    }
    place = {"source": site, "target": "cloud", "group": group, "topic": f"{site}.{topic}", "partition": "0"}
    took: list[Any] = [REGISTRY.get_sample_value(f"{_LATENCY}{of}", place) for of in ("_min", "_avg", "_max")]
    assert None not in took
    assert 0 <= took[0] <= took[1] <= took[2] < 10_000


async def _beats(bed: Bed) -> bool:
    try:
        found = [
            read_heartbeat(each.key, each.value) for each in await bed.data(bed.target, f"{bed.site}.heartbeats", 0)
        ]
    except BadInput:  # not there yet
        return False
    return len({beat.at_ms for beat in found if (beat.source, beat.target) == ("cloud", bed.site)}) > 1


async def test_instances_that_share_a_link_follow_groups_together(bed: Bed) -> None:
    """Each instance tells and sets where a group stands in its own partitions, and none shuts the other one out."""
    topic = await bed.topic(partitions=4)
    await bed.fill(topic, 10)
    group, stop = f"g-{bed.site}", asyncio.Event()
    await _commit(bed, group, {(topic, partition): 5 + partition for partition in range(4)})
    settings = _following(bed, publish=True)
    instances = [asyncio.create_task(run_link(settings, stop, held=range(first, SHARES, 2))) for first in (0, 1)]
    for partition in range(4):
        place = partial(_stands_at, bed, group, topic, 5 + partition, partition)
        await until(place, "the group stands at the target")

    async def told() -> bool:
        kept = await read_compacted(bed.target, f"{bed.site}.checkpoints.internal", 0)
        return {read_checkpoint(key, record.value).partition for key, record in kept.items()} == set(range(4))

    await until(told, "all checkpoints are written")
    assert not [each for each in instances if each.done()]
    stop.set()
    assert await asyncio.gather(*instances) == [None, None]


async def _synced(bed: Bed, topic: str) -> bool:
    kept = await read_compacted(bed.source, "mm2-offset-syncs.cloud.internal", 0)
    found = {read_offset_sync(key, record.value) for key, record in kept.items()}
    return {OffsetSync(topic, 0, 9, 9), OffsetSync(topic, 1, 9, 9)} <= found


@pytest.mark.parametrize("where", ["source", "target"])
async def test_offset_syncs_are_where_they_are_wanted(bed: Bed, where: str) -> None:
    """Offset syncs are written to the cluster that is set, under the other one's name."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 3)
    cluster, name = (bed.source, "cloud") if where == "source" else (bed.target, bed.site)

    async def written() -> bool:
        try:
            kept = await read_compacted(cluster, f"mm2-offset-syncs.{name}.internal", 0)
        except BadInput:  # not there yet
            return False
        return OffsetSync(topic, 0, 2, 2) in {read_offset_sync(key, record.value) for key, record in kept.items()}

    async with bed.link(_following(bed, publish=True, offset_syncs_at=where)):
        await until(written, "the sync is written")
