"""The topics at the target: made like those at the source, and checked before anything is written to them."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from headwater.contract import topics
from headwater.contract.errors import BadInput, Conflict, Refused, Transient
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.administration import create_topic, topic_configs

_log = structlog.get_logger(__name__)
CARRIED_OVER = ("cleanup.policy", "retention.ms", "max.message.bytes")
# Bytes and timestamps stay as they are; a site whose clock runs ahead is seen, not refused (Kafka 4: one hour).
_FAITHFUL = {
    "compression.type": "producer",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": str((1 << 63) - 1),
}
_KEPT_RECORD_TIME = "message.timestamp.type"


async def spec_at_source(source: Cluster, topic: str) -> TopicSpec:
    """A source topic's partitions and the configurations that are carried over; Transient while there is none."""
    try:
        partitions = await source.partitions(topic)
    except BadInput as error:
        raise Transient(str(error), hint=error.hint) from error
    return TopicSpec(topic, partitions, await topic_configs(source, topic, CARRIED_OVER))


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
    if missing:
        hint = "`headwater edge run` makes those of a plant"
        _log.warning("waiting for topics", missing=missing, at=source.settings.brokers, hint=hint)


def is_compacted(spec: TopicSpec) -> bool:
    """Whether compaction may change counts of records; `compact,delete` counts too."""
    return "compact" in spec.configs.get("cleanup.policy", "")


async def make_target(target: Cluster, site: str, source: TopicSpec, replication_factor: int) -> None:
    """Create `<site>.<topic>` unless it exists. Conflict: too few partitions. Refused: it would change timestamps."""
    name = topics.remote(site, source.name)
    spec = TopicSpec(name, source.partitions, {**source.configs, **_FAITHFUL})
    if await create_topic(target, spec, replication_factor=replication_factor):
        return
    found = await target.partitions(name)
    if found < source.partitions:
        raise Conflict(
            f"topic {name} has {found} partitions, {source.name} of site {site} has {source.partitions}",
            hint=f"add partitions to {name} (kafka-topics.sh --alter --partitions {source.partitions})",
        )
    kind = (await topic_configs(target, name, [_KEPT_RECORD_TIME])).get(_KEPT_RECORD_TIME)
    if kind not in {None, "CreateTime"}:
        raise Refused(
            f"topic {name} has {_KEPT_RECORD_TIME}={kind}: records would lose the time of the site",
            hint=f"set {_KEPT_RECORD_TIME}=CreateTime on {name}",
        )
