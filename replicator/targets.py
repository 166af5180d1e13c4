"""The topics at the target: made like those at the source, and checked before anything is written to them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import structlog

from headwater.contract.errors import BadInput, Refused, Transient
from headwater.contract.topics import REPLICATED, TopicSpec
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.administration import create_topic, topic_configs
from headwater.transport.kafka_batch.alterations import add_partitions, all_configs
from headwater.transport.retry import pauses

_log = structlog.get_logger(__name__)
_CARRIED_OVER = ("cleanup.policy", "retention.ms", "max.message.bytes")  # also where they are the brokers' defaults
# Those of DefaultConfigPropertyFilter in Apache Kafka 4.3, what would change or refuse records, and what needs a
# storage that the target may not have.
_NOT_CARRIED_OVER = re.compile(
    r"(follower|leader)\.replication\.throttled\.replicas|(log\.)?message\.timestamp\..*|compression\.type"
    r"|unclean\.leader\.election\.enable|min\.insync\.replicas|remote\..*|local\.retention\..*"
)
# Bytes and timestamps stay as they are; a site whose clock runs ahead is seen, not refused (Kafka 4: one hour).
FAITHFUL = {
    "compression.type": "producer",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": str((1 << 63) - 1),
}
_NOTICED_PAUSE_S = 0.05
_KEPT_RECORD_TIME = "message.timestamp.type"


async def spec_at_source(source: Cluster, topic: str) -> TopicSpec:
    """A source topic's partitions and the configurations that are carried over; Transient while there is none."""
    try:
        partitions = await source.partitions(topic)
    except BadInput as error:
        raise Transient(str(error), hint=error.hint) from error
    found = await all_configs(source, topic)
    configs = {name: each.value for name, each in found.items() if is_carried_over(name, each.is_set)}
    return TopicSpec(topic, partitions, configs)


def is_carried_over(name: str, is_set: bool) -> bool:
    """Whether the target's topic gets this configuration of the source's."""
    return name in _CARRIED_OVER or (is_set and not _NOT_CARRIED_OVER.fullmatch(name))


async def say_what_is_missing(source: Cluster, names: Sequence[str]) -> None:
    """One line for all topics that must be waited for, instead of one for each."""
    missing = []
    for name in names:
        try:
            await source.partitions(name)
        except BadInput:
            missing.append(name)
        except Transient:  # whoever waits for the topic says it
            return
        except Refused:  # whoever opens the topic says it
            continue
    if missing:
        hint = made_by(*missing)
        _log.warning("waiting for topics", missing=missing, at=source.settings.brokers, hint=hint)


def made_by(*topics: str) -> str:
    """What to do about topics that the source does not have."""
    ours = any(topic in REPLICATED for topic in topics)
    return "`headwater edge run` makes those of a plant" if ours else "it is shipped as soon as it is there"


def is_compacted(spec: TopicSpec) -> bool:
    """Whether compaction may change counts of records; `compact,delete` counts too."""
    return "compact" in spec.configs.get("cleanup.policy", "")


async def make_target(target: Cluster, name: str, source: TopicSpec, replication_factor: int) -> None:
    """Create the topic called `name`, or give it as many partitions as the source's has.

    Refused: it would change timestamps.
    """
    spec = TopicSpec(name, source.partitions, {**source.configs, **FAITHFUL})
    if await create_topic(target, spec, replication_factor=replication_factor):
        return
    await widen(target, name, source.partitions)
    kind = (await topic_configs(target, name, [_KEPT_RECORD_TIME])).get(_KEPT_RECORD_TIME)
    if kind not in {None, "CreateTime"}:
        raise Refused(
            f"topic {name} has {_KEPT_RECORD_TIME}={kind}: records would lose the time of the site",
            hint=f"set {_KEPT_RECORD_TIME}=CreateTime on {name}",
        )


async def widen(target: Cluster, name: str, partitions: int) -> None:
    """Give a topic at least so many partitions, and wait until they have leaders; never fewer than it has."""
    found = await target.partitions(name)
    if found >= partitions:
        return
    await add_partitions(target, name, partitions)
    _log.info("partitions added at the target", topic=name, before=found, now=partitions)
    for pause in pauses(_NOTICED_PAUSE_S, 1.0):
        if await target.partitions(name) >= partitions:
            return
        await asyncio.sleep(pause)
