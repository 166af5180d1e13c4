"""`python -m bench.lanes`: alarms over a slow link that a backlog has to itself otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import typer
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.figures import as_json as to_json
from bench.figures import console, figures_table, median_figure
from bench.link.road import Conditions
from bench.link.running import running as linked
from bench.replicator.cases import Case, load
from bench.replicator.clusters import Ends
from bench.replicator.runs import running
from bench.replicator.systems import Start
from bench.wan.bed import Wan, open_wan
from headwater.contract.topics import ALARMS, TopicSpec
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.administration import create_topic

RATE, RTT_S = 32_000, 0.3  # 256 kbit/s
_BACKLOG = Case("backlog", 208_000, 1000, partitions=4)
_BULK = 1050  # bytes of a record in its batch, about
_ALARM_BYTES = 300
_EVERY_S = 0.5
_SITE = "plant"


def main(
    seconds: float = typer.Option(180.0, min=10.0, help="How long to measure."),
    warm: float = typer.Option(45.0, min=0.0, help="How long to wait before, from the first record at the target."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """256 kbit/s, 300 ms, one queue; more than 200 MB wait, and two alarms a second come.

    Example:  python -m bench.lanes
    """
    out = console(as_json=as_json)
    with open_wan(out.print) as wan:
        asyncio.run(_prepare(wan))
        late, share, queued = _measure(wan, warm, seconds)
    p = [float(np.percentile(late, each)) for each in (50, 99, 100)]
    out.print(f"{len(late)} alarms: p50 {p[0]:.3f} s, p99 {p[1]:.3f} s, longest {p[2]:.3f} s")
    out.print(f"bytes waiting at the bottleneck: median {np.median(queued):,.0f}, most {max(queued):,}")
    found = [
        median_figure("lanes.alert_p99_s", [p[1]], "s", 1.1, better="lower"),
        median_figure("lanes.bulk_share", [share], "of the link", 0.5, better="higher"),
    ]
    out.print(figures_table(found))
    if as_json:
        typer.echo(to_json(found, more={"alarms": len(late), "p50_s": p[0], "longest_s": p[2]}))


async def _prepare(wan: Wan) -> None:
    async with Cluster(wan.bed.source.settings(tls=False), client_id="bench") as cluster:
        await create_topic(cluster, TopicSpec(ALARMS, 1, {}))
        await load(cluster, _BACKLOG)


def _measure(wan: Wan, warm_s: float, seconds: float) -> tuple[list[float], float, list[int]]:
    prefix = "HEADWATER_REPLICATOR__"
    env = {
        f"{prefix}SITE": _SITE,
        f"{prefix}TOPICS": f'["{ALARMS}", "{_BACKLOG.topic}"]',
        f"{prefix}SOURCE__BROKERS": wan.bed.source.plain,
        f"{prefix}TARGET__BROKERS": wan.bed.target.plain,
    }
    start = Start([sys.executable, "-m", "headwater", "replicate", "run"], "", env)
    conditions = Conditions(wan.port, wan.door, RATE, RTT_S)
    queued: list[int] = []
    with linked(conditions) as link, running(wan.bed, start, "headwater"), _alarms(wan.bed.source):
        consumer = _at_target(wan.target)
        try:
            _take(consumer, time.monotonic() + 120, first=True)
            _take(consumer, time.monotonic() + warm_s)
            before, began = _arrived(wan.target), time.monotonic()
            late: list[float] = []
            while (left := began + seconds - time.monotonic()) > 0:
                late += _take(consumer, time.monotonic() + min(1.0, left))
                queued.append(link.ask().queued)
            share = (_arrived(wan.target) - before) * _BULK / (RATE * (time.monotonic() - began))
        finally:
            consumer.close()
    return late, share, queued


@contextlib.contextmanager
def _alarms(ends: Ends) -> Iterator[None]:
    enough = threading.Event()

    def send() -> None:
        producer = Producer({"bootstrap.servers": ends.plain, "linger.ms": 0})
        while not enough.wait(_EVERY_S * np.random.uniform(0.5, 1.5)):
            producer.produce(ALARMS, b"%020d" % time.time_ns() + b"x" * (_ALARM_BYTES - 20), b"pump")
            producer.poll(0)
        producer.flush(5)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def _at_target(ends: Ends) -> Consumer:
    options: dict[str, Any] = {
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.queue.backoff.ms": 1,
    }
    consumer = Consumer({"bootstrap.servers": ends.plain, "group.id": "bench", "log_level": 0, **options})
    consumer.assign([TopicPartition(f"{_SITE}.{ALARMS}", 0, 0)])
    return consumer


def _take(consumer: Consumer, until: float, *, first: bool = False) -> list[float]:
    """How long each alarm took, in seconds."""
    found: list[float] = []
    while time.monotonic() < until and not (first and found):
        come, now = consumer.consume(100, 0.01), time.time_ns()
        found += [(now - int((each.value() or b"")[:20])) / 1e9 for each in come if not each.error()]
    return found


def _arrived(ends: Ends) -> int:
    async def ask() -> int:
        async with Cluster(ends.settings(tls=False), client_id="bench") as cluster:
            return sum((await cluster.offsets(f"{_SITE}.{_BACKLOG.topic}", "latest")).values())

    return asyncio.run(ask())


if __name__ == "__main__":
    typer.run(main)
