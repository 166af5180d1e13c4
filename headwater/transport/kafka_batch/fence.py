"""How a new life of a writer shuts out its former one.

A killed writer may leave batches in a broker's socket that are written long after (a client quota delays them without
bound), so its tail cannot be trusted until it is fenced. The name of the writer is its transactional id: it always gets
the same producer id, with the next epoch. An empty aborted transaction then puts a marker with that epoch into each
partition; from there on the broker refuses the former epoch (47), and data may follow as plain idempotent batches.
Readers see nothing but an offset that is skipped.

Kafka forgets a name after transactional.id.expiration.ms (7 days) without a transaction and then gives out another
producer id, which does not fence the former one. Against that the last one is kept in a local file, written before its
first use, and is shut out by one visible record with the next epoch (key `hw-fence`, no value; our readers skip it).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import structlog

from headwater.contract.errors import BadInput, Transient
from headwater.transport.files import replace_durably
from headwater.transport.kafka_batch import codes
from headwater.transport.kafka_batch.batches import batches
from headwater.transport.kafka_batch.calls import Fetched, TopicPartition
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.records import FENCE_KEY, Out, encode
from headwater.transport.kafka_batch.transactions import Producer
from headwater.transport.retry import retrying

_log = structlog.get_logger(__name__)
Partitions = Mapping[str, Sequence[int]]

_FIRST_PAUSE_S = 0.02
_MARKER_DEADLINE_S = 60.0


async def fence(
    cluster: Cluster, name: str, partitions: Partitions, state_file: Path | None
) -> tuple[Producer, dict[TopicPartition, int]]:
    """Begin a life: returns its producer and the offset of its marker in each partition, once they can be read.

    Everything that a former life wrote lies before the markers, and nothing of it can come after them. It waits while
    brokers are away. A crash between any two steps leaves at worst an open empty transaction, which the next life
    aborts. Fenced: a still later life has begun meanwhile.
    """
    producer = await retrying(
        f"asking for the producer id of {name}", lambda: cluster.init_producer_id(name), first_s=_FIRST_PAUSE_S
    )
    before = await retrying(f"asking where {name} ends", lambda: _ends(cluster, partitions))
    producer = await _ahead(cluster, name, producer, partitions)
    former = _remembered(state_file)
    if former is not None and former.id != producer.id:
        await _shut_out(cluster, former, partitions)
    await mark(cluster, name, producer, partitions)
    if state_file is not None:
        replace_durably(state_file, json.dumps({"producer_id": producer.id, "epoch": producer.epoch}).encode())
    markers = await retrying(f"waiting for the markers of {name}", lambda: _markers(cluster, producer, before))
    return producer, markers


async def _ahead(cluster: Cluster, name: str, producer: Producer, partitions: Partitions) -> Producer:
    """A producer whose epoch is behind none of what the partitions hold.

    A cluster that was restored from a copy knows former epochs only, while a life that outlived that has perhaps gone
    on writing. A broker refuses a marker with an epoch that is over, and the transaction is then never finished: the
    name would be blocked for good, so none is begun before this is settled.
    """

    async def epochs(topic: str, each: Sequence[int]) -> list[int]:
        asking = f"asking for the producers of {topic}"
        states = await retrying(asking, partial(cluster.describe_producers, topic, each), first_s=_FIRST_PAUSE_S)
        known = (state.producer for found in states.values() for state in found)
        return [found.epoch for found in known if found.id == producer.id]

    found = await asyncio.gather(*(epochs(topic, each) for topic, each in partitions.items()))
    newest = max(chain(*found), default=-1)
    if newest >= producer.epoch:
        _log.warning("the cluster was restored from a copy", writer=name, epoch=producer.epoch, written=newest)
    same = producer.id
    while producer.id == same and producer.epoch <= newest:
        again = f"asking for the producer id of {name}"
        producer = await retrying(again, partial(cluster.init_producer_id, name), first_s=_FIRST_PAUSE_S)
    return producer


async def mark(cluster: Cluster, name: str, producer: Producer, partitions: Partitions) -> None:
    """Run an empty transaction over the partitions and abort it; harmless to repeat within a life."""

    async def once() -> None:
        await cluster.add_partitions_to_txn(name, producer, partitions)
        await cluster.end_txn(name, producer, commit=False)

    await retrying(f"fencing the former life of {name}", once, first_s=_FIRST_PAUSE_S)


async def _ends(cluster: Cluster, partitions: Partitions) -> dict[TopicPartition, int]:
    found = {}
    for topic, each in partitions.items():
        ends = await cluster.offsets(topic, "latest")
        for partition in each:
            if partition not in ends:
                raise BadInput(f"{topic} has no partition {partition}; it has {len(ends)}")
            found[topic, partition] = ends[partition]
    return found


async def _markers(
    cluster: Cluster, producer: Producer, before: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Read each partition from where it ended before the transaction up to our own marker.

    That a reader gets it proves that the high watermark has passed it, so that no change of leader can undo the fence.
    """
    at = dict(before)
    found: dict[TopicPartition, int] = {}
    deadline = time.monotonic() + _MARKER_DEADLINE_S
    while at:
        if time.monotonic() > deadline:
            raise Transient(f"no marker of {producer} in {sorted(at)} after {_MARKER_DEADLINE_S:g} s")
        for part in await cluster.fetch(at, max_wait_ms=100):
            pair = (part.topic, part.partition)
            doing = f"reading {part.topic}[{part.partition}] from offset {at[pair]}"
            codes.check(part.error, doing, denied=cluster.denied("Read", part.topic))
            marker, following = _own_marker(part, producer, at[pair])
            if marker is not None:
                found[pair] = marker
                del at[pair]
            else:
                at[pair] = following
    return found


def _own_marker(part: Fetched, producer: Producer, at: int) -> tuple[int | None, int]:
    """Offset of our marker if it is in this fetch, and where to read on if it is not."""
    for batch in batches(part.data):
        if batch.is_control and (batch.producer_id, batch.producer_epoch) == producer and batch.base_offset >= at:
            return batch.base_offset, at
        at = max(at, batch.last_offset + 1)
    return None, at


def _remembered(state_file: Path | None) -> Producer | None:
    if state_file is None or not state_file.exists():
        return None
    try:
        kept = json.loads(state_file.read_bytes())
        return Producer(int(kept["producer_id"]), int(kept["epoch"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{state_file} does not hold a producer id: {error}",
            hint="remove it if this writer has been stopped for less than seven days",
        ) from error


async def _shut_out(cluster: Cluster, former: Producer, partitions: Partitions) -> None:
    """Write one record with the former producer's next epoch to each partition."""
    stamp = int(time.time() * 1000)
    record = Out(FENCE_KEY, None, (), stamp)
    batch = encode([record], producer_id=former.id, epoch=former.epoch + 1, sequence=0)
    todo = {(topic, partition) for topic, each in partitions.items() for partition in each}

    async def rest() -> None:
        for answer in await cluster.produce([(*pair, batch) for pair in sorted(todo)]):
            if answer.error in _SHUT_OUT:
                todo.discard((answer.topic, answer.partition))
            else:
                codes.check(answer.error, f"fencing {former} in {answer.topic}[{answer.partition}]", answer.detail)

    await retrying(f"fencing the forgotten {former}", rest)


# Written; written by an earlier try; a later epoch is there already.
_SHUT_OUT = frozenset({codes.NONE, codes.DUPLICATE_SEQUENCE, codes.INVALID_PRODUCER_EPOCH})
