"""`python -m bench.rules`: a topic of JSON readings copied under one rule, by a link and by a confluent-kafka loop.

Both leave out what is not above a limit, one record in ten stays; both run on the same real clusters until as many
records have arrived as must. Records are those of the source that were looked at, per CPU-second of the program,
user and system, over the last 60 % of the copy.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from dataclasses import dataclass
from random import Random
from typing import Annotated

import msgspec
import typer

from bench.bridge.meter import Meter
from bench.replicator.clusters import Bed, Ends, open_bed
from bench.replicator.runs import _at_share, _clean, _make, _watch, running
from bench.replicator.systems import Start
from headwater.contract import headers
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch import Cluster, Out, encode
from headwater.transport.kafka_batch.administration import create_topic
from headwater.transport.retry import retrying

_TOPIC = "bench-readings"
_LIMIT = 90.0
_PARTITIONS, _PER_BATCH = 4, 400
_RULE = {"topics": [_TOPIC], "keep": {"field": "values.flow", "above": _LIMIT}}
_POOL = 4000
_BEGAN_MS = 1_763_718_300_000


@dataclass(frozen=True)
class Shape:
    """Records of one kind. `with_headers`: those that the bridge gives a reading."""

    name: str
    with_headers: bool


_SHAPES = (Shape("readings", with_headers=True), Shape("bare", with_headers=False))


def _outs(shape: Shape) -> list[Out]:
    rng = Random(7)
    named = (("hw-mqtt-topic", b"lyon/pump/pump-3"), ("hw-class", b"pump"), ("hw-received-at", headers.number(7)))
    return [
        Out(
            b"pump-%d" % (n % 50),
            b'{"v":1,"t":%d,"values":{"flow":%.2f,"temp":21.5,"rpm":1480}}' % (_BEGAN_MS + n, rng.random() * 100),
            named if shape.with_headers else (),
            _BEGAN_MS + n,
        )
        for n in range(_POOL)
    ]


async def _fill(ends: Ends, shape: Shape, count: int) -> int:
    """Write about `count` records to the source; returns how many there are."""
    outs = _outs(shape)
    made = [encode(outs[first : first + _PER_BATCH], codec="lz4") for first in range(0, _POOL, _PER_BATCH)]
    rounds = max(count // _POOL // _PARTITIONS, 1)
    async with Cluster(ends.settings(tls=False), client_id="bench") as cluster:
        await create_topic(cluster, TopicSpec(_TOPIC, _PARTITIONS, {"retention.ms": "-1"}))
        await retrying("waiting for leaders", lambda: cluster.offsets(_TOPIC, "latest"), deadline_s=20, first_s=0.05)
        for _ in range(rounds):
            for batch in made:
                answers = await cluster.produce([(_TOPIC, partition, batch) for partition in range(_PARTITIONS)])
                assert not any(answer.error for answer in answers), answers
    return rounds * _POOL * _PARTITIONS


def _ours(bed: Bed) -> tuple[Start, int]:
    site, prefix = bed.fresh("site"), "HEADWATER_REPLICATOR__"
    env = {
        f"{prefix}SITE": site,
        f"{prefix}TOPICS": f'["{_TOPIC}"]',
        f"{prefix}RECORDS": json.dumps([_RULE]),
        f"{prefix}SOURCE__BROKERS": bed.source.plain,
        f"{prefix}TARGET__BROKERS": bed.target.plain,
    }
    return Start([sys.executable, "-m", "headwater", "replicate", "run"], f"{site}.{_TOPIC}", env), _PARTITIONS


def _loop(bed: Bed) -> tuple[Start, int]:
    target = f"{bed.fresh('loop')}.{_TOPIC}"
    argv = [sys.executable, "-m", "bench.rules", "loop", bed.source.plain, bed.target.plain, target]
    return Start(argv, target, make_target=True), 0


def _copied(bed: Bed, name: str, start: Start, markers: int, total: int) -> float:
    """Records of the source that were looked at, a CPU-second; `markers` take offsets at the target too."""
    flows = [json.loads(each.value or b"")["values"]["flow"] for each in _outs(_SHAPES[0])]
    expected = total // _POOL * sum(flow > _LIMIT for flow in flows)
    if start.make_target:
        asyncio.run(_make(bed.target, start.target, _PARTITIONS))
    with running(bed, start, name) as pid, Meter(pid) as meter:
        line = asyncio.run(_watch(bed.target, start.target, expected + markers, pid))
    assert line[-1][1] == expected + markers, f"{name} has written {line[-1][1]} of {expected} records"
    _clean(bed, start)
    from_s, from_count = _at_share(line, expected)
    share = (line[-1][1] - from_count) / expected
    return share * total / meter.cpu_s(from_s, line[-1][0])


def loop(source: str, target: str, to: str) -> None:
    """What a careful user writes: as bench.replicator.loop, with the rule in the middle. Until SIGTERM."""
    import signal  # noqa: PLC0415  # of the other process

    from confluent_kafka import Consumer, Producer, TopicPartition  # noqa: PLC0415  # as above

    tuned = {"queued.max.messages.kbytes": 32_768, "fetch.max.bytes": 16 << 20, "max.partition.fetch.bytes": 4 << 20}
    consumer = Consumer(
        {"bootstrap.servers": source, "group.id": "loop", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        | {"fetch.queue.backoff.ms": 5, **tuned}
    )
    consumer.assign([TopicPartition(_TOPIC, partition, 0) for partition in range(_PARTITIONS)])
    producer = Producer(
        {"bootstrap.servers": target, "enable.idempotence": True, "linger.ms": 100, "batch.size": 1_000_000}
        | {"batch.num.messages": 100_000, "queue.buffering.max.messages": 1_000_000, "compression.type": "lz4"}
    )
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    decode = msgspec.json.Decoder().decode
    while not stopping:
        for message in consumer.consume(2000, 0.1):
            value = message.value()
            if value is None or decode(value)["values"]["flow"] > _LIMIT:
                where, stamp = message.partition() or 0, message.timestamp()[1]
                producer.produce(to, value, message.key(), where, timestamp=stamp, headers=message.headers())
        producer.poll(0)
    producer.flush(10)


def main(
    records: Annotated[int, typer.Option(min=16_000, help="Records of the source.")] = 1_600_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each, in turns.")] = 3,
) -> None:
    """Print records a CPU-second of both, the medians of some runs.

    Example:  python -m bench.rules --runs 3
    """
    with open_bed(typer.echo) as bed:
        for shape in _SHAPES:
            total = asyncio.run(_fill(bed.source, shape, records))
            found: dict[str, list[float]] = {"headwater": [], "loop": []}
            for _ in range(runs):
                for name, make in (("headwater", _ours), ("loop", _loop)):
                    start, markers = make(bed)
                    found[name].append(_copied(bed, name, start, markers, total))
            ours, theirs = (statistics.median(each) for each in found.values())
            said = ", ".join(f"{name} {' '.join(f'{each:,.0f}' for each in runs)}" for name, runs in found.items())
            typer.echo(f"rules.per_cpu_s_{shape.name} {ours:,.0f}  (loop {theirs:,.0f}; {said})")
            typer.echo(f"rules.cpu_vs_loop_{shape.name} {ours / theirs:.2f}")
            _drop_source(bed)


def _drop_source(bed: Bed) -> None:
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415  # as in `loop`

    admin = AdminClient({"bootstrap.servers": bed.source.plain})
    for future in admin.delete_topics([_TOPIC]).values():
        future.result(20)


if __name__ == "__main__":
    if sys.argv[1:2] == ["loop"]:
        loop(*sys.argv[2:])
    else:
        typer.run(main)
