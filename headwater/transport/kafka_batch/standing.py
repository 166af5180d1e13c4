"""How partitions stand, in one round trip: where a log begins and ends, and who wrote to it; where many logs end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from headwater.contract.errors import Transient, Unreachable
from headwater.transport.kafka_batch import calls, codes, transactions
from headwater.transport.kafka_batch.calls import TopicPartition
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.connection import Connection
from headwater.transport.kafka_batch.transactions import ProducerState


class Standing(NamedTuple):
    """First offset, first offset not yet readable, and the producers that the leader knows."""

    first: int
    end: int
    producers: list[ProducerState]


async def standing(cluster: Cluster, topic: str, partition: int) -> Standing:
    """Ask the leader; Transient as the calls of Cluster, BadInput where there is no such topic.

    The producers are asked for behind the end, on the same connection, which a broker answers in order: what they have
    written never lies before that end.
    """
    try:
        connection = (await cluster.reach(topic, partition)).connection
    except Unreachable:
        raise
    except Transient:
        await cluster.partitions(topic)
        raise
    await connection.room()
    pair = (topic, partition)
    asked = [connection.send(calls.list_offsets({pair: stamp})) for stamp in (calls.EARLIEST_MS, calls.LATEST_MS)]
    describing = connection.send(transactions.describe_producers(topic, [partition]))
    answers = await asyncio.gather(*asked, describing, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    first, end = (asking.result()[pair] for asking in asked)
    error, producers = describing.result()[partition]
    for code, operation in ((first.error, "Describe"), (end.error, "Describe"), (error, "Read")):
        cluster.note(topic, code)
        codes.check(code, f"asking how {topic}[{partition}] stands", denied=cluster.denied(operation, topic))
    return Standing(first.offset, end.offset, producers)


async def ends(cluster: Cluster, pairs: Iterable[TopicPartition]) -> dict[TopicPartition, int | None]:
    """First offset not yet readable of each partition, in one request a leader; None: there is no such partition.

    Those whose leader is away are left out. Unreachable: no broker answers; Refused: this user may not ask.
    """
    found: dict[TopicPartition, int | None] = {}
    led: dict[Connection, list[TopicPartition]] = {}
    for pair in pairs:
        try:
            led.setdefault((await cluster.reach(*pair)).connection, []).append(pair)
        except Unreachable:
            raise
        except Transient as error:
            if codes.code_of(error) == codes.UNKNOWN_TOPIC_OR_PARTITION:
                found[pair] = None
    for connection, asked in led.items():
        await connection.room()
        answer = await connection.request(calls.list_offsets(dict.fromkeys(asked, calls.LATEST_MS)))
        for (topic, partition), listed in answer.items():
            cluster.note(topic, listed.error)
            if listed.error == codes.NONE:
                found[topic, partition] = listed.offset
            elif not codes.retriable(listed.error):
                denied = cluster.denied("Describe", topic)
                raise codes.failure(listed.error, f"asking where {topic}[{partition}] ends", denied=denied)
    return found
