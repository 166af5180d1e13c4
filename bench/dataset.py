"""`python -m bench.dataset`: records a second and core from a real Kafka into windows, with their digest.

Beside it the same ranges read by hand: confluent-kafka, `json.loads` of every value, no columns, no digest.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import typer
from confluent_kafka import Consumer, TopicPartition

from bench.figures import as_json as to_json
from bench.figures import console, figures_table, median_figure, table
from cloud_trainer.datasets.building import from_kafka
from cloud_trainer.datasets.collecting import training_set
from cloud_trainer.datasets.file import describe
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import cut
from headwater.app.stack import process
from headwater.app.stack.kafka import KafkaService
from headwater.app.stack.kafka_tools import prepare_kafka
from headwater.app.stack.runner import Runner
from headwater.contract import headers
from headwater.contract.errors import Defect
from headwater.contract.reading import encode as encode_reading
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Out, codes, encode
from headwater.transport.retry import retrying

TOPIC, ASSETS, PARTITIONS = "lyon.readings", 40, 4
CHANNELS = ("accelerometer1", "accelerometer2", "current", "pressure", "temperature", "thermocouple", "voltage", "flow")
START_MS = 1_763_718_300_000
GOAL = 100_000
# The stack's brokers compile little, to start quickly; this one is to be quick in the long run.
_JVM = ("-Xmx1g", "-Xms1g", "-XX:TieredStopAtLevel=4")
Offsets = dict[str, dict[str, tuple[int, int]]]


class Cost(NamedTuple):
    """Seconds of CPU of this process with all its threads, and on the clock."""

    cpu_s: float
    wall_s: float


def outs(rng: random.Random, partition: int, first: int, count: int) -> list[Out]:
    """Readings as the bridge writes them: 8 channels, 6 headers."""
    found = []
    for n in range(first, first + count):
        asset = f"pump-{partition + PARTITIONS * (n % (ASSETS // PARTITIONS))}"
        t = START_MS + n * 100
        known = (
            (headers.CLASS, b"pump"),
            (headers.MQTT_TOPIC, f"lyon/pump/{asset}".encode()),
            (headers.SESSION, b"headwater-lyon@1763718300000"),
            (headers.RECEIVED_AT, headers.number(t + 7)),
            (headers.PACKET_ID, headers.number(n % 65535 + 1)),
            (headers.SEQUENCE, headers.number(n)),
        )
        payload = encode_reading(t, {channel: round(rng.gauss(40, 9), 4) for channel in CHANNELS})
        found.append(Out(asset.encode(), payload, known, t + 9))
    return found


async def fill(settings: KafkaSettings, records: int, per_batch: int, seed: int) -> Offsets:
    """Write the records of a dataset, lz4 as the bridge does; the ranges that hold them."""
    rng = random.Random(seed)
    await asyncio.to_thread(ensure_topics, settings, [TopicSpec(TOPIC, PARTITIONS)])
    share = records // PARTITIONS
    async with Cluster(settings, client_id="bench") as cluster:
        for first in range(0, share, per_batch):
            batches = [
                (TOPIC, partition, encode(outs(rng, partition, first, min(per_batch, share - first)), codec="lz4"))
                for partition in range(PARTITIONS)
            ]

            async def write(batches: Any = batches) -> None:
                for answer in await cluster.produce(batches):
                    codes.check(answer.error, "writing")

            await retrying("writing", write, deadline_s=20, first_s=0.02)
    return {TOPIC: {str(partition): (0, share) for partition in range(PARTITIONS)}}


def measured(work: Callable[[], int], expected: int) -> Cost:
    """What a piece of work costs; Defect unless it has seen all records."""
    cpu, wall = time.process_time(), time.monotonic()
    count = work()
    cost = Cost(time.process_time() - cpu, time.monotonic() - wall)
    if count != expected:
        raise Defect(f"{count} records were read, {expected} were written")
    return cost


def ours(settings: KafkaSettings, offsets: Offsets, digests: set[str]) -> int:
    """`headwater train dataset build` and the windows: every offset accounted for, digest, columns, windows of 20."""
    recipe = Recipe(most_records=1 << 40)
    found = from_kafka(settings, "pump", offsets, recipe)
    digests.add(describe(found).sha256)
    learn = training_set(found, recipe)
    windows = [cut(series, learn.channels, learn.channels, recipe) for series in learn.series.values()]
    if sum(map(len, windows)) < learn.source.records // recipe.step - len(windows) * recipe.window:
        raise Defect("windows are missing")
    return learn.source.records


def by_hand(settings: KafkaSettings, offsets: Offsets) -> int:
    """A consumer and `json.loads`: no digest, no columns, nothing checked."""
    consumer = Consumer({"bootstrap.servers": settings.brokers, "group.id": "bench", "enable.auto.commit": False})
    ends = {int(partition): end for partition, (_, end) in offsets[TOPIC].items()}
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in ends])
    count = 0
    while ends:
        for message in consumer.consume(10_000, timeout=5.0):
            partition, offset = message.partition() or 0, message.offset() or 0
            count += bool(json.loads(message.value() or b"{}")["values"])
            if offset + 1 == ends.get(partition):
                del ends[partition]
    consumer.close()
    return count


def main(
    records: int = typer.Option(800_000, min=PARTITIONS, help="Records to read."),
    per_batch: int = typer.Option(200, min=1, help="Records of a batch, as they were written."),
    runs: int = typer.Option(3, min=1, help="Runs of each, alternating."),
    seed: int = typer.Option(1, help="Seed of the values."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Read the same ranges of a real Kafka over and over; rates are a second of CPU of the reading process.

    Example:  python -m bench.dataset --records 200000
    """
    out = console(as_json=as_json)
    tools = prepare_kafka(out.print)
    folder = Path(tempfile.mkdtemp(prefix="headwater-bench-"))
    runner, service = Runner(folder), KafkaService("cloud", lambda: tools, options=_JVM)
    costs: dict[str, list[Cost]] = {"ours": [], "by hand": []}
    digests: set[str] = set()
    try:
        runner.start(service)
        settings = KafkaSettings(brokers=runner.address(service))
        count = records // PARTITIONS * PARTITIONS
        offsets = asyncio.run(fill(settings, count, per_batch, seed))
        ours(settings, {TOPIC: {"0": offsets[TOPIC]["0"]}}, set())  # not counted: the broker compiles its code
        for _ in range(runs):
            costs["ours"].append(measured(lambda: ours(settings, offsets, digests), count))
            costs["by hand"].append(measured(lambda: by_hand(settings, offsets), count))
    finally:
        process.stop(folder, grace_s=5.0)
        shutil.rmtree(folder, ignore_errors=True)
    if len(digests) != 1:
        raise Defect(f"the same ranges had {len(digests)} digests")
    per_cpu = {name: [round(count / cost.cpu_s) for cost in of] for name, of in costs.items()}
    figures = [
        median_figure("dataset.records_per_s_core", per_cpu["ours"], "1/s", GOAL, better="higher"),
        median_figure("dataset.by_hand_per_s_core", per_cpu["by hand"], "1/s", None, better="higher"),
    ]
    rows = [
        [name, f"{statistics.median(per_cpu[name]):,.0f}", f"{count / statistics.median(c.wall_s for c in of):,.0f}"]
        for name, of in costs.items()
    ]
    title = f"{count:,} records of {PARTITIONS} partitions in batches of {per_batch}, {runs} runs"
    out.print(table(title, ("reader", "records a CPU-second", "records a second"), rows))
    out.print(figures_table(figures))
    if as_json:
        typer.echo(to_json(figures, seed, {"digest": digests.pop()}))


if __name__ == "__main__":
    typer.run(main)
