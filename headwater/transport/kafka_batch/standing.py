"""How one partition stands, in one round trip: where its log begins and ends, and who wrote to it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from headwater.contract.errors import Transient, Unreachable
from headwater.transport.kafka_batch import calls, codes, transactions
from headwater.transport.kafka_batch.cluster import Cluster
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
