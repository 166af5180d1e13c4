"""Putting the scorer of one edge together, from its first connection to its last word."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from edge_agent.scorer.desired import DesiredFile
from edge_agent.scorer.ledger import Ledger
from edge_agent.scorer.metrics import Counts, export
from edge_agent.scorer.partition import OUTPUTS
from edge_agent.scorer.process import Scorer
from edge_agent.scorer.recovery import recover
from edge_agent.scorer.roster import Roster
from edge_agent.scorer.settings import ScorerSettings
from edge_agent.scorer.sketching import Sketcher
from edge_agent.scorer.status import last_seq
from headwater.contract import topics
from headwater.contract.errors import BadInput, Unreachable
from headwater.transport import metrics
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Writer
from headwater.transport.retry import retrying
from headwater.transport.tflite import runtime_class

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_FINISH_S = 5.0  # for the last chunk, checkpoint and status once asked to stop
_PRODUCER_FILE = "scorer-producer.json"


async def run_scorer(
    site: str, kafka: KafkaSettings, state: Path, settings: ScorerSettings, stop: asyncio.Event
) -> None:
    """Score the readings of an edge until `stop`. `state` is the folder of the edge, where the updater places models.

    Waits while Kafka or its topics are not there yet. Fenced: another scorer of this site has started. DataMissing: the
    topic `readings` was made anew.
    """
    counts = Counts()
    if settings.metrics_port is not None:
        export(counts)
        metrics.serve(settings.metrics_port, settings.metrics_address)
    cluster = Cluster(kafka, client_id=f"scorer-{site}")
    try:
        writer = await _unless(stop, _open_writer(site, cluster, state))
        if writer is None:
            return
        async with writer:
            scorer = await _unless(stop, _recover(site, cluster, writer, state, settings, counts))
            if scorer is not None:
                _log.info("scoring", site=site)
                await _bounded(stop, scorer.run(stop))
    finally:
        await cluster.close()
    _log.info("stopped", site=site)


async def _open_writer(site: str, cluster: Cluster, state: Path) -> Writer:
    await retrying("reaching Kafka", cluster.connect)
    count = await retrying("looking for the edge's topics", lambda: _partitions(cluster))
    sketches = {topics.SKETCHES: range(count)} if await _has_sketches(cluster, count) else {}
    return await Writer.open(
        cluster,
        f"scorer-{site}",
        {**{topic: range(count) for topic in (*OUTPUTS, topics.STATE)}, **sketches, topics.STATUS: [0]},
        tails={topics.SCORES: 1, topics.ALARMS: 1, topics.STATUS: 1},
        state_file=state / _PRODUCER_FILE,
    )


async def _has_sketches(cluster: Cluster, count: int) -> bool:
    """Whether sketches can be written: an edge that was set up before there were any goes without."""
    try:
        return await cluster.partitions(topics.SKETCHES) >= count
    except BadInput:
        _log.warning("no sketches are written", why=f"there is no topic {topics.SKETCHES}", hint="headwater edge run")
        return False


async def _recover(
    site: str, cluster: Cluster, writer: Writer, state: Path, settings: ScorerSettings, counts: Counts
) -> Scorer:
    partitions = []
    for number in range(await cluster.partitions(topics.READINGS)):
        again = partial(recover, cluster, writer, number)
        partitions.append(await retrying(f"reading what was scored of partition {number}", again))
    roster, desired, runtime = Roster(state), DesiredFile(state), runtime_class()
    if settings.sketch_readings and await _has_sketches(cluster, len(partitions)):
        for partition in partitions:
            partition.sketcher = Sketcher(site, partition.number, settings.sketch_readings, roster.features)
    seq = last_seq(writer.tails[topics.STATUS, 0], site)
    ledger = Ledger(writer, runtime, counts)
    return Scorer(site, settings, cluster, ledger, roster, desired, partitions, counts=counts, runtime=runtime, seq=seq)


async def _partitions(cluster: Cluster) -> int:
    """Number of partitions of `readings`; Unreachable while a topic is missing, BadInput where they do not match."""
    counts: dict[str, int] = {}
    for topic in (topics.READINGS, *OUTPUTS, topics.STATE, topics.STATUS):
        try:
            counts[topic] = await cluster.partitions(topic)
        except BadInput as error:
            raise Unreachable(str(error), hint="`headwater edge setup` creates the edge's topics") from error
    for topic in (*OUTPUTS, topics.STATE):
        if counts[topic] != counts[topics.READINGS]:
            raise BadInput(
                f"{topic} has {counts[topic]} partitions, readings has {counts[topics.READINGS]}",
                hint=f"partition n of one answers partition n of the other: make {topic} anew",
            )
    return counts[topics.READINGS]


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`, or None if `stop` came first."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait({task})
    return None


async def _bounded(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Await `work`; once `stop` is set it has a bounded time left, since Kafka may be away."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    done, _ = await asyncio.wait({task}, timeout=_FINISH_S if not task.done() else None)
    if done:
        return task.result()
    _log.warning("stopped without a last checkpoint", why=f"Kafka did not answer within {_FINISH_S:g} s")
    task.cancel()
    await asyncio.wait({task})
    return None
