"""The fence: what a former life left on the road never lands behind the tail that a new life reads."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from headwater.contract.errors import BadInput, Fenced
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Out, Producer, Record, Writer, encode, read_records
from headwater.transport.kafka_batch.calls import produce
from headwater.transport.kafka_batch.connection import Connection
from headwater.transport.kafka_batch.fence import fence
from headwater.transport.kafka_batch.reading import read_tail
from headwater.transport.kafka_batch.records import FENCE_KEY
from headwater.transport.kafka_batch.wire import Api, Call, array, string
from tests.transport.kafka_batch.conftest import make_topic, now_ms

Begin = Callable[[Cluster, str, str], Awaitable[list[Record]]]


def outs(*values: str) -> list[Out]:
    return [Out(b"k", value.encode(), (), now_ms()) for value in values]


async def values(cluster: Cluster, topic: str, partition: int = 0) -> list[bytes | None]:
    end = (await cluster.offsets(topic, "latest"))[partition]
    return [r.value async for found in read_records(cluster, topic, partition, 0, end) for r in found]


async def begin_fenced(cluster: Cluster, name: str, topic: str) -> list[Record]:
    async with await Writer.open(cluster, name, {topic: [0]}, tails={topic: 100}) as writer:
        return writer.tails[topic, 0]


async def begin_unfenced(cluster: Cluster, name: str, topic: str) -> list[Record]:
    await cluster.init_producer_id(name)
    return await read_tail(cluster, topic, 0, 100)


@asynccontextmanager
async def byte_rate(cluster: Cluster, client_id: str, bytes_per_s: float) -> AsyncIterator[None]:
    """Throttle what a client id may produce (AlterClientQuotas, version 0)."""
    connection = await Connection.open(cluster.settings, cluster.settings.addresses()[0], None, "quota")

    async def alter(remove: bool) -> None:
        entity = array([string("client-id") + string(client_id)])
        change = array([string("producer_byte_rate") + struct.pack(">d?", bytes_per_s, remove)])
        body = array([entity + change]) + b"\0"
        read = Call(Api("AlterClientQuotas", 49, 0), [body], lambda r: (r.int32(), len(r.times()), r.int16()))
        assert (await connection.request(read))[2] == 0

    async def known() -> bool:
        match = array([string("client-id") + b"\0" + string(client_id)])
        read = Call(
            Api("DescribeClientQuotas", 48, 0),
            [match + b"\0"],
            lambda r: (r.int32(), r.int16(), r.string(), len(r.times())),
        )
        return (await connection.request(read))[3] == 1

    await alter(False)
    async with asyncio.timeout(10):
        while not await known():  # noqa: ASYNC110  the broker learns of it from its controller
            await asyncio.sleep(0.02)
    try:
        yield
    finally:
        await alter(True)
        connection.close()


async def leave_late_batch(cluster: Cluster, topic: str, flag: str, producer: Producer, client_id: str) -> None:
    """Die as a killed writer does: a batch under quota answered, the next one in the broker's socket.

    A last request writes to `flag`; once that record is there, everything before it was handled.
    """
    big = encode(outs("x" * 66_000), producer_id=producer.id, epoch=producer.epoch, sequence=0)
    late = encode(outs("late"), producer_id=producer.id, epoch=producer.epoch, sequence=1)
    old = await Connection.open(cluster.settings, cluster.settings.addresses()[0], None, client_id)
    first = old.send(produce([(topic, 0, big)], 10_000))
    lost = [
        old.send(produce([(topic, 0, late)], 10_000)),
        old.send(produce([(flag, 0, encode(outs("handled")))], 10_000)),
    ]
    throttle_ms, (answer,) = await first
    assert (answer.error, throttle_ms > 300) == (0, True)
    old.close()
    await asyncio.gather(*lost, return_exceptions=True)


async def wait_until(condition: Callable[[], Awaitable[bool]], deadline_s: float = 20.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not await condition():  # noqa: ASYNC110  a broker has no event for it
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("begin", "lands"), [(begin_fenced, False), (begin_unfenced, True)])
async def test_a_late_write_of_a_former_life_is_refused(
    cluster: Cluster, topic: str, begin: Begin, lands: bool
) -> None:
    """A batch that a quota held back lands behind the tail without the fence, and never with it."""
    name, flag = f"writer-{topic}", await make_topic(cluster, f"{topic}-flag"[:60], 1)
    former, _ = await fence(cluster, name, {topic: [0]}, None)
    async with byte_rate(cluster, f"slow-{topic}", 6_000):
        await leave_late_batch(cluster, topic, flag, former, f"slow-{topic}")
        tail = await begin(cluster, name, topic)
        assert [len(record.value or b"") for record in tail] == [66_000]

        async def handled() -> bool:
            return (await cluster.offsets(flag, "latest"))[0] == 1

        assert not await handled()  # the late batch was still on its way when the new life had its tail
        await wait_until(handled)
    assert (b"late" in await values(cluster, topic)) == lands


async def test_a_former_life_is_told_that_it_is_over(cluster: Cluster, topic: str) -> None:
    """The old writer fails with Fenced for good; the new one writes on; readers see no trace of the fence."""
    async with await Writer.open(cluster, f"w-{topic}", {topic: [0, 1]}, tails={topic: 5}) as old:
        assert old.tails == {(topic, 0): [], (topic, 1): []}
        await old.write(topic, 0, outs("a", "b"))
        async with await Writer.open(cluster, f"w-{topic}", {topic: [0, 1]}, tails={topic: 5}) as new:
            assert [r.value for r in new.tails[topic, 0]] == [b"a", b"b"]
            for partition in (0, 1):  # also where it never wrote
                with pytest.raises(Fenced):
                    await old.write(topic, partition, outs("stale"))
            with pytest.raises(Fenced):
                await old.refence()
            await new.write(topic, 0, outs("c"))
            await new.write(topic, 1, outs("d"))
    assert await values(cluster, topic, 0) == [b"a", b"b", b"c"]
    assert await values(cluster, topic, 1) == [b"d"]


async def test_a_life_that_died_in_the_middle_of_its_fence_hinders_nobody(cluster: Cluster, topic: str) -> None:
    """An open empty transaction is aborted by the next life; the log can be read to its end at once."""
    name = f"w-{topic}"
    half = await cluster.init_producer_id(name)
    await cluster.add_partitions_to_txn(name, half, {topic: [0, 1]})
    async with await Writer.open(cluster, name, {topic: [0, 1]}, tails={topic: 1}) as writer:
        assert writer.producer.id == half.id
        assert writer.producer.epoch > half.epoch
        await writer.write(topic, 0, outs("a"))
    assert await values(cluster, topic) == [b"a"]


async def test_repeating_the_fence_in_mid_life_leaves_the_sequences_intact(cluster: Cluster, topic: str) -> None:
    """The daily empty transaction may come between writes and among them."""
    async with await Writer.open(cluster, f"w-{topic}", {topic: [0]}) as writer:
        await writer.write(topic, 0, outs("0"))
        await writer.refence()
        writes = [writer.write(topic, 0, outs(str(i))) for i in range(1, 30)]
        await asyncio.gather(*writes[:15], writer.refence(), *writes[15:])
        await writer.write(topic, 0, outs("30"))
    assert await values(cluster, topic) == [b"%d" % i for i in range(31)]


async def test_a_name_that_kafka_forgot_is_fenced_by_the_remembered_producer(
    cluster: Cluster, topic: str, tmp_path: Path
) -> None:
    """When another producer id comes back, the former one is shut out all the same, and readers do not see how."""
    state = tmp_path / "writer.json"
    former = await Writer.open(cluster, f"w-{topic}", {topic: [0, 1]}, state_file=state)
    await former.write(topic, 0, outs("a"))
    assert json.loads(state.read_bytes()) == {"producer_id": former.producer.id, "epoch": former.producer.epoch}
    # Another name stands in for the seven days after which the same name gets another producer id.
    async with await Writer.open(cluster, f"x-{topic}", {topic: [0, 1]}, tails={topic: 5}, state_file=state) as later:
        assert later.producer.id != former.producer.id
        assert [r.value for r in later.tails[topic, 0]] == [b"a"]
        assert later.tails[topic, 1] == []
        for partition in (0, 1):
            with pytest.raises(Fenced):
                await former.write(topic, partition, outs("stale"))
        await later.write(topic, 0, outs("b"))
        assert json.loads(state.read_bytes())["producer_id"] == later.producer.id
    await former.close()
    assert await values(cluster, topic) == [b"a", b"b"]
    raw = [r.key for r in await read_tail(cluster, topic, 0, 9)]
    assert FENCE_KEY not in raw


async def test_an_unreadable_state_file_is_not_passed_over(cluster: Cluster, topic: str, tmp_path: Path) -> None:
    """A producer id that cannot be read might be one that is not fenced: the writer does not start."""
    state = tmp_path / "writer.json"
    state.write_text("{")
    with pytest.raises(BadInput, match="does not hold a producer id"):
        await Writer.open(cluster, f"w-{topic}", {topic: [0]}, state_file=state)


async def test_a_writer_of_what_does_not_exist_is_refused(cluster: Cluster, topic: str) -> None:
    """A partition or topic that is not there, and a tail of a foreign topic, are named."""
    with pytest.raises(BadInput, match="no partition 9"):
        await Writer.open(cluster, f"w-{topic}", {topic: [0, 9]})
    with pytest.raises(BadInput, match="no topic 'nowhere'"):
        await Writer.open(cluster, f"w-{topic}", {"nowhere": [0]})
    with pytest.raises(BadInput, match="does not write"):
        await Writer.open(cluster, f"w-{topic}", {topic: [0]}, tails={"other": 1})


async def test_two_lives_that_begin_at_once_leave_one_writer(kafka: str, cluster: Cluster, topic: str) -> None:
    """Of several starts at the same time exactly one can write afterwards."""

    async def begin(index: int) -> Writer | None:
        client = clients[index]
        try:
            return await Writer.open(client, f"w-{topic}", {topic: [0]})
        except Fenced:
            return None

    clients = [Cluster(KafkaSettings(brokers=kafka), client_id=f"c{i}") for i in range(4)]
    writers = await asyncio.gather(*map(begin, range(4)))
    written = []
    for index, writer in enumerate(writers):
        if writer is not None:
            try:
                await writer.write(topic, 0, outs(str(index)))
                written.append(b"%d" % index)
            except Fenced:
                pass
            await writer.close()
    await asyncio.gather(*(client.close() for client in clients))
    assert len(written) == 1
    assert await values(cluster, topic) == written


async def test_a_cluster_that_was_restored_from_a_copy_is_fenced_too(cluster: Cluster, unique: str) -> None:
    """Its coordinator knows former epochs only; a life that outlived the copy has written on under a later one."""
    await make_topic(cluster, unique)
    first, _ = await fence(cluster, unique, {unique: [0]}, None)
    outlived = encode(outs("x"), producer_id=first.id, epoch=first.epoch + 5, sequence=0)
    assert (await cluster.produce([(unique, 0, outlived)]))[0].error == 0

    async with asyncio.timeout(20):
        producer, markers = await fence(cluster, unique, {unique: [0]}, None)

    assert producer.epoch > first.epoch + 5
    assert markers[unique, 0] > 1
    assert (await cluster.produce([(unique, 0, outlived)]))[0].error == 47
