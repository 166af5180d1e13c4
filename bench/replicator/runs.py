"""One run of one system: a preloaded topic copied, a paced stream, or a new topic found; and whether it is a copy."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from bench.bridge.meter import Meter
from bench.replicator.cases import Case
from bench.replicator.clusters import Bed, Ends
from bench.replicator.systems import Start, System
from headwater.contract.errors import BadInput, Transient, Unreachable
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.administration import create_topic

_ROOT = Path(__file__).resolve().parents[2]
_COUNTED = 0.6  # the last part of the records: start and warm-up are left out
_LOOK_S = 0.01
_PATIENCE_S = 120.0  # without a single arrival
_STOP_S = 20.0


@dataclass(frozen=True)
class Run:
    """What one run has shown. CPU is of the system's processes, user and system, over the last 60 % of the records."""

    system: str
    case: str
    records: int
    fault: str  # empty where the copy is one
    per_cpu_s: float = 0.0  # records a CPU-second
    per_s: float = 0.0  # records a second
    first_s: float = 0.0  # from start to first arrival
    peak_mb: float = 0.0


@contextmanager
def running(bed: Bed, start: Start, name: str) -> Iterator[int]:
    """Run a system and end it in order; Unreachable with the end of its output where it ended by itself."""
    output = bed.folder / f"{bed.fresh('log')}-{name.replace(' ', '-')}.log"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HEADWATER_")}
    env = {**kept, "PYTHONPATH": str(_ROOT), **start.env}
    with output.open("wb") as file:
        program = subprocess.Popen(start.argv, env=env, cwd=bed.folder, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield program.pid
        if program.poll() is not None:
            raise Unreachable(f"{name} ended by itself:\n" + output.read_text(errors="replace")[-2000:])
    finally:
        _end(program)


def _end(program: subprocess.Popen[bytes]) -> None:
    if program.poll() is None:
        program.send_signal(signal.SIGTERM)
    try:
        program.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def copy(bed: Bed, system: System, case: Case) -> Run:
    """Copy a preloaded topic, and compare digests."""
    start = system.start(bed, case, case.topic)
    total = case.records // case.partitions * case.partitions
    line = [(0.0, 0)]
    began = time.time()
    if start.make_target:
        asyncio.run(_make(bed.target, start.target, case.partitions))
    with running(bed, start, system.name) as pid, Meter(pid) as meter:
        line = asyncio.run(_watch(bed.target, start.target, total, pid))
    arrived = line[-1][1]
    fault = "" if arrived == total else f"{system.name} copied {arrived} of {total} records of {case.name}"
    fault = fault or _compare(bed, case, start.target, system.name)
    _clean(bed, start)
    if fault:
        return Run(system.name, case.name, total, fault, peak_mb=meter.peak_mb)
    from_s, from_count = _at_share(line, total)
    end_s = line[-1][0]
    return Run(
        system.name,
        case.name,
        total,
        "",
        per_cpu_s=(total - from_count) / max(meter.cpu_s(from_s, end_s), 1e-6),
        per_s=(total - from_count) / max(end_s - from_s, 1e-6),
        first_s=line[1][0] - began,
        peak_mb=meter.peak_mb,
    )


def _at_share(line: list[tuple[float, int]], total: int) -> tuple[float, int]:
    """Instant and count of the look at which the records that were left were nearest to 60 %."""
    return min(line[:-1], key=lambda look: abs(total * (1 - _COUNTED) - look[1]))


async def _make(ends: Ends, topic: str, partitions: int) -> None:
    async with Cluster(ends.settings(tls=False), client_id="bench") as cluster:
        await create_topic(cluster, TopicSpec(topic, partitions, {"retention.ms": "-1"}))


async def _watch(ends: Ends, topic: str, total: int, pid: int) -> list[tuple[float, int]]:
    """(Unix time, records at the target), one at each look that saw more, until all are there or nothing comes."""
    line = [(time.time(), 0)]
    moved = time.monotonic()
    async with Cluster(ends.settings(tls=False), client_id="bench") as cluster:
        while line[-1][1] < total and time.monotonic() - moved < _PATIENCE_S and _lives(pid):
            try:
                count = sum((await cluster.offsets(topic, "latest")).values())
            except (BadInput, Transient):
                count = 0
            if count > line[-1][1]:
                line.append((time.time(), count))
                moved = time.monotonic()
            await asyncio.sleep(_LOOK_S)
    return line


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _compare(bed: Bed, case: Case, target: str, name: str) -> str:
    ours, theirs = digest(bed.source, case.topic, case), digest(bed.target, target, case)
    wrong = [partition for partition, both in enumerate(zip(ours, theirs, strict=True)) if both[0] != both[1]]
    return f"{name} changed {case.name}: the digests of partitions {wrong} differ" if wrong else ""


def digest(ends: Ends, topic: str, case: Case) -> list[str]:
    """SHA-256 over time, key, value and headers of the records of each partition, in their order."""
    consumer = Consumer(
        {
            "bootstrap.servers": ends.plain,
            "group.id": "bench",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "queued.max.messages.kbytes": 65_536,
            "fetch.queue.backoff.ms": 5,
        }
    )
    sums = [hashlib.sha256() for _ in range(case.partitions)]
    left = [case.records // case.partitions] * case.partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(case.partitions)])
    until = time.monotonic() + _PATIENCE_S
    while any(left) and time.monotonic() < until:
        for message in consumer.consume(10_000, 0.5):
            partition = message.partition() or 0
            sums[partition].update(
                b"%d|%r|%r|" % (message.timestamp()[1], message.key(), message.headers()) + (message.value() or b"")
            )
            left[partition] -= 1
    consumer.close()
    return [each.hexdigest() for each in sums]


def _clean(bed: Bed, start: Start) -> None:
    """Take away the copy and whatever the system keeps of itself."""
    stem = start.target.split(".")[0]
    for ends in (bed.source, bed.target):
        admin = AdminClient({"bootstrap.servers": ends.plain})
        names = [
            name
            for name in admin.list_topics(timeout=10).topics
            if stem in name.split(".") or name.startswith("mm2-") or "heartbeats" in name
        ]
        if names:
            for future in admin.delete_topics(names).values():
                future.exception(20)
