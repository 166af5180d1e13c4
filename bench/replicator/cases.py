"""What is copied: topics of the same records in batches of one shape, loaded before anybody starts."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch import Cluster, Out, encode
from headwater.transport.kafka_batch.administration import create_topic
from headwater.transport.kafka_batch.compression import Codec

_POOL = 4000
_KEYS = 1000
_AHEAD = 400
_LARGE = 64 << 10
_SMALL = 16 << 10
_CODECS: tuple[Codec, ...] = ("none", "lz4", "zstd")


@dataclass(frozen=True)
class Case:
    """One topic. `batch` is the size of its batches before compression, in bytes; 1: a record each."""

    name: str
    records: int
    size: int
    codec: Codec = "none"
    batch: int = _LARGE
    partitions: int = 4
    tls: bool = False

    @property
    def topic(self) -> str:
        """Its name at the source; the same data serves with and without TLS."""
        return "bench-" + self.name.replace("_", "-").removesuffix("-tls")

    @property
    def per_batch(self) -> int:
        """Records of a batch."""
        return max(1, self.batch // (self.size + 40))


def _grid() -> list[Case]:
    """Every combination that the benchmark knows; the first ones have figures."""
    found = [
        Case("1k", 400_000, 1000),
        Case("1k_zstd", 400_000, 1000, "zstd"),
        Case("100b", 2_000_000, 100),
        Case("100b_single", 400_000, 100, batch=1),
        Case("1k_tls", 400_000, 1000, tls=True),
    ]
    for size, records in ((1000, 400_000), (100, 2_000_000)):
        for codec in _CODECS:
            for batch, shape in ((_LARGE, ""), (_SMALL, "_16k"), (1, "_single")):
                for partitions in (4, 1):
                    parts = [f"{size // 1000}k" if size >= 1000 else f"{size}b"]
                    parts += [codec] if codec != "none" else []
                    name = "_".join(parts) + shape + ("_1p" if partitions == 1 else "")
                    count = records if batch > 1 else 400_000
                    found.append(Case(name, count, size, codec, batch, partitions))
    unique = {case.name: case for case in reversed(found)}
    return [unique[name] for name in dict.fromkeys(case.name for case in found)]


CASES = _grid()
BY_NAME = {case.name: case for case in CASES}
USUAL = ("1k", "1k_zstd", "100b", "100b_single", "1k_tls", "1k_lz4", "1k_16k", "1k_1p")


@functools.cache
def _values(size: int) -> list[bytes]:
    """JSON of sensors, cut to `size` bytes; compresses about fivefold in batches."""
    random = Random(7)
    return [_value(random, size) for _ in range(_POOL)]


def _value(random: Random, size: int) -> bytes:
    parts = []
    length = 1
    while length < size:
        reading = {
            "id": f"line{random.randrange(8)}/pump-{random.randrange(500):03d}",
            "ts": 1_790_000_000_000 + random.randrange(10**9),
            "value": round(random.gauss(60, 9), 6),
            "unit": "bar",
            "quality": "GOOD",
        }
        parts.append(json.dumps(reading, separators=(",", ":")))
        length += len(parts[-1]) + 1
    return ("[" + ",".join(parts))[: size - 1].encode() + b"]"


def outs(case: Case, partition: int, first: int, count: int, at_ms: int) -> list[Out]:
    """Records of a partition; the time of each tells its number."""
    values = _values(case.size)
    return [
        Out(b"k%05d" % (n % _KEYS), values[(n * 7 + partition) % _POOL], (), at_ms + n)
        for n in range(first, first + count)
    ]


async def load(cluster: Cluster, case: Case) -> None:
    """Make the topic and fill it, unless it is there."""
    if not await create_topic(cluster, TopicSpec(case.topic, case.partitions, {"retention.ms": "-1"})):
        return
    await _leaders(cluster, case)
    each, at_ms = case.records // case.partitions, int(time.time() * 1000) - 3_600_000
    waiting: list[asyncio.Future[object]] = []
    for first in range(0, each, case.per_batch):
        for partition in range(case.partitions):
            found = outs(case, partition, first, min(case.per_batch, each - first), at_ms)
            outbox = await cluster.reach(case.topic, partition)
            waiting.append(asyncio.ensure_future(outbox.put(case.topic, partition, encode(found, codec=case.codec))))
        if len(waiting) >= _AHEAD or first + case.per_batch >= each:
            _check(await asyncio.gather(*waiting))
            waiting.clear()


def _check(answers: Sequence[object]) -> None:
    for answer in answers:
        if getattr(answer, "error", 0):
            raise RuntimeError(f"loading: {answer}")


async def _leaders(cluster: Cluster, case: Case) -> None:
    while True:
        try:
            await cluster.offsets(case.topic, "latest")
        except Exception:  # noqa: BLE001  a topic a moment old; whatever stays wrong is raised by the first write
            await asyncio.sleep(0.05)
        else:
            return
