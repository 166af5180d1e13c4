"""Run one chapter of the replicator: records flowing between two clusters, fault after fault, then a count."""

from __future__ import annotations

import asyncio
from pathlib import Path

from confluent_kafka import KafkaException

from headwater.app.stack.kafka import KafkaTools
from headwater.contract.errors import HeadwaterError
from headwater.contract.topics import positions
from headwater.transport.kafka_batch import Cluster, KafkaSettings, read_compacted
from headwater.transport.retry import retrying
from replicator.position import GAP_PREFIX, Gap, decode
from tests.chaos.bed import HEADWATER
from tests.chaos.chapter import STOP_S, Say, drain, go_through, in_a_folder
from tests.chaos.count import Outcome
from tests.chaos.process import wait
from tests.chaos.replicator.bed import SITE, Bed, open_bed
from tests.chaos.replicator.count import Sides, Sums, by_partition, keyed, plain
from tests.chaos.replicator.faults import fire
from tests.chaos.replicator.feed import KEYED, PARTITIONS
from tests.chaos.replicator.logs import committed
from tests.chaos.replicator.plan import Chapter
from tests.chaos.supervised import READY_S

_MIRROR_DRAIN = (400.0, 100.0)  # seconds in all, and without a sign of life; it says nothing of being ready


async def run_chapter(chapter: Chapter, tools: KafkaTools, say: Say, *, system: str = HEADWATER) -> Outcome:
    """One chapter in a folder of its own, which is kept (and named) where something went wrong."""

    async def work(folder: Path, outcome: Outcome) -> None:
        try:
            async with open_bed(chapter, system, folder, tools) as bed:
                await _begin(bed)
                await go_through(bed, chapter, outcome, fire, say)
                await _settle(bed, outcome)
        except KafkaException as error:  # it cannot leave this process as it is
            raise AssertionError(f"the campaign itself: {error!r}") from error

    return await in_a_folder(Outcome(chapter=chapter.name, seed=chapter.seed, system=system), work, say)


async def _begin(bed: Bed) -> None:
    """The first start, up to the first records at the target, and a copy of the target from then."""
    bed.feed.begin()
    bed.start()
    assert await wait(bed.life.ready.is_set, READY_S), "the system did not start"
    end = asyncio.get_running_loop().time() + READY_S
    while not all(map(sum, (found := await bed.ends()).values())) or len(found) < len(PARTITIONS):
        assert asyncio.get_running_loop().time() < end, "the first record did not arrive"
        await asyncio.sleep(0.1)
    await asyncio.to_thread(bed.backup)


async def _settle(bed: Bed, outcome: Outcome) -> None:
    """Let everything through, stop in order, and count."""
    await asyncio.to_thread(bed.feed.quiet)

    async def count() -> None:
        await _count(bed, outcome)

    await drain(bed, outcome, bed.ends, count, *(() if bed.system == HEADWATER else _MIRROR_DRAIN))
    if bed.system == HEADWATER:
        bed.see_to_it()
        if not await wait(bed.life.ready.is_set, READY_S):
            outcome.wrong.append("not ready at the end")
        status = await bed.life.stop(STOP_S)
        outcome.clean_stops += 1
        if status != 0:
            outcome.wrong.append(f"the last stop ended with status {status}")
    bed.kill()
    outcome.wrong += (await _count(bed, outcome)).wrong
    outcome.stalled = bed.watch.stalls
    if not bed.watch.looks:
        outcome.wrong.append(f"readers were never looked at: {bed.watch.why}")
    outcome.ended = bed.ended


async def _count(bed: Bed, outcome: Outcome) -> Sums:
    sums = Sums()
    gaps = by_partition(await _gaps(bed)) if bed.system == HEADWATER else {}
    for topic, partitions in PARTITIONS.items():
        source, target = await asyncio.gather(
            asyncio.to_thread(committed, bed.source.bootstrap, topic, partitions),
            asyncio.to_thread(committed, bed.target.bootstrap, f"{SITE}.{topic}", partitions),
        )
        for partition in range(partitions):
            where = f"{topic}[{partition}]"
            here = [*bed.eaten[topic, partition], *source[partition]]
            if topic == KEYED:
                keyed(sums, where, here, target[partition])
            else:
                plain(sums, Sides(where, here, target[partition], gaps.get((topic, partition), ())))
    sums.put(outcome)
    return sums


async def _gaps(bed: Bed) -> list[Gap]:
    async def read() -> list[Gap]:
        async with Cluster(KafkaSettings(brokers=bed.target.bootstrap), client_id="count") as cluster:
            kept = await read_compacted(cluster, positions(SITE).name, 0)
        prefix = GAP_PREFIX.encode()
        return [decode(record.value, Gap, "gap") for key, record in kept.items() if key.startswith(prefix)]

    try:
        return await retrying("reading the gaps", read, deadline_s=60)
    except HeadwaterError as error:
        raise AssertionError(f"the gaps cannot be read: {error}") from error
