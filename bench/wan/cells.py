"""Which links, and how one system is measured on one."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient

from bench.link.road import Conditions
from bench.link.running import Command, Remote
from bench.link.running import running as linked
from bench.replicator.cases import Case, outs
from bench.replicator.clusters import Ends
from bench.replicator.runs import running
from bench.replicator.systems import System
from bench.wan.bed import Wan
from headwater.contract.errors import BadInput, Transient, Unreachable
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch import Cluster, encode
from headwater.transport.kafka_batch.administration import create_topic

WINDOW = 102_400  # a broker's socket.receive.buffer.bytes by default
FOUR = Case("wan_4p", 120_000, 1000, partitions=4)
ONE = Case("wan_1p", 120_000, 1000, partitions=1)
PLENTY = Case("wan_plenty", 400_000, 1000, partitions=4)
SLOW = 125_000  # bytes a second up to which a link leaves the processors idle
_FIRST_S = 180.0
_FLOWS = 8 << 10  # bytes that have left after a cut: more than a login and questions
_DOWN_S = 2.0
_LOOK_S = 0.5


@dataclass(frozen=True)
class Cell:
    """One link. `rate` in bytes a second; `stall_s` every 5 s on average; a cut every `cut_every_s`."""

    name: str
    rate: float
    rtt_s: float
    case: Case = FOUR
    window: int = WINDOW
    stall_s: float = 0.0
    cut_every_s: float = 0.0
    warm_s: float = 20.0
    seconds: float = 30.0


@dataclass(frozen=True)
class Seen:
    """What one system did in one cell. `use` is of the link, or of what windows allow, whichever is less."""

    cell: str
    system: str
    use: float
    wasted: float  # share of the bytes towards the target that are no record there
    resumed_s: tuple[float, ...] = ()  # from the end of each cut until 8 KiB have left
    still_s: float = 0.0  # longest time without a new record at the target
    load: float = 0.0  # of the machine, in the minute before the end; above its number of cores others take part
    fault: str = ""


NAMED = (
    Cell("10 Mbit/s, 300 ms, 4 partitions", 1_250_000, 0.3),
    Cell("10 Mbit/s, 300 ms, 1 partition", 1_250_000, 0.3, ONE),
    Cell("10 Mbit/s, 300 ms, 1 partition, window open", 1_250_000, 0.3, ONE, window=0),
    Cell("1 Mbit/s, 300 ms, cuts", 125_000, 0.3, cut_every_s=12.0, seconds=60.0),
    Cell("64 kbit/s, 600 ms, cuts", 8_000, 0.6, cut_every_s=60.0, warm_s=30.0, seconds=240.0),
)
GRID = tuple(
    Cell(f"{name}, {trip} ms{', stalls' if stall else ''}", rate, trip / 1000, case, WINDOW, stall, 0.0, warm, seconds)
    for name, rate, case, warm, seconds in (
        ("64 kbit/s", 8_000, FOUR, 30.0, 120.0),
        ("1 Mbit/s", 125_000, FOUR, 20.0, 40.0),
        ("10 Mbit/s", 1_250_000, FOUR, 10.0, 25.0),
        ("100 Mbit/s", 12_500_000, PLENTY, 8.0, 15.0),
    )
    for trip in (20, 300, 600)
    for stall in (0.0, 0.2 + trip / 1000)
)


def measure(wan: Wan, cell: Cell, system: System) -> Seen:
    """Copy for a while, and count."""
    start = system.start(wan.bed, cell.case, cell.case.topic)
    if start.make_target:
        asyncio.run(_make(wan.target, start.target, cell.case.partitions))
    every_s = 5.0 if cell.stall_s else 0.0
    conditions = Conditions(wan.port, wan.door, cell.rate, cell.rtt_s, cell.window, every_s, cell.stall_s)
    record = _record_bytes(cell.case)
    try:
        with linked(conditions) as link, running(wan.bed, start, system.name):
            _await_first(wan.target, start.target)
            time.sleep(cell.warm_s)
            with _stillest(wan.target, start.target) as pauses:
                before, up, began = _count(wan.target, start.target), link.ask().up, time.monotonic()
                resumed = tuple(_cuts(link, cell, began + cell.seconds))
                time.sleep(max(0.0, began + cell.seconds - time.monotonic()))
                took, sent = time.monotonic() - began, link.ask().up - up
                count = _count(wan.target, start.target)
                arrived = (count - before) * record
    except Unreachable as error:
        return Seen(cell.name, system.name, 0.0, 1.0, fault=str(error))
    finally:
        with suppress(TimeoutError):  # it only takes disk
            admin = AdminClient({"bootstrap.servers": wan.target.plain})
            admin.delete_topics([start.target])[start.target].exception(20)
    if count >= cell.case.records:
        return Seen(cell.name, system.name, 0.0, 1.0, fault="all records were there before the time was over")
    took -= len(resumed) * _DOWN_S
    most = min(cell.rate, cell.window * cell.case.partitions / cell.rtt_s) if cell.window else cell.rate
    wasted = max(0.0, 1 - arrived / max(sent, 1))
    use, load = arrived / took / most, os.getloadavg()[0]
    return Seen(cell.name, system.name, use, wasted, resumed, max(pauses), load)


def _record_bytes(case: Case) -> float:
    """Bytes of a record in its batch at the source, with its share of the header."""
    return len(encode(outs(case, 0, 0, case.per_batch, 0), codec=case.codec)) / case.per_batch


def _cuts(link: Remote, cell: Cell, until: float) -> Iterator[float]:
    dice = random.Random(5)
    while cell.cut_every_s:
        time.sleep(cell.cut_every_s * dice.uniform(0.7, 1.0))
        if time.monotonic() > until - _DOWN_S - 10:
            return
        link.ask(Command(cut_s=_DOWN_S))
        time.sleep(_DOWN_S)
        began, up = time.monotonic(), link.ask().up
        while link.ask().up - up < _FLOWS and time.monotonic() - began < 30:
            time.sleep(0.01)
        yield max(0.0, time.monotonic() - began - _FLOWS / cell.rate)


@contextmanager
def _stillest(ends: Ends, topic: str) -> Iterator[list[float]]:
    """Lengths of the times without a new record."""
    enough, pauses, last = threading.Event(), [0.0], time.monotonic()

    def look() -> None:
        nonlocal last
        count = _count(ends, topic)
        while not enough.wait(_LOOK_S):
            now, found = time.monotonic(), _count(ends, topic)
            pauses.append(now - last)
            if found > count:
                count, last = found, now

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield pauses
    finally:
        enough.set()
        watching.join()


async def _make(ends: Ends, topic: str, partitions: int) -> None:
    async with Cluster(ends.settings(tls=False), client_id="bench") as cluster:
        await create_topic(cluster, TopicSpec(topic, partitions, {}))


def _count(ends: Ends, topic: str) -> int:
    async def ask() -> int:
        async with Cluster(ends.settings(tls=False), client_id="bench") as cluster:
            try:
                return sum((await cluster.offsets(topic, "latest")).values())
            except (BadInput, Transient):
                return 0

    return asyncio.run(ask())


def _await_first(ends: Ends, topic: str) -> None:
    until = time.monotonic() + _FIRST_S
    while not _count(ends, topic):
        if time.monotonic() > until:
            raise Unreachable(f"no record of {topic} within {_FIRST_S:g} s")
        time.sleep(0.2)
