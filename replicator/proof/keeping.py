"""The manifest is kept at least as long as the records that it proves."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from headwater.contract.errors import BadInput, Permanent
from headwater.contract.topics import manifest
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.administration import topic_configs
from headwater.transport.kafka_batch.alterations import set_topic_configs
from replicator.limits import NAMES, NO_LIMIT, limits_in

_log = structlog.get_logger(__name__)
_RETENTION = "retention.ms"


async def keep_long_enough(target: Cluster, site: str, names: Iterable[str]) -> None:
    """Raise the manifest's retention to the longest of these target topics; never lower it. Transient as ever."""
    topic = manifest(site, -1).name
    try:
        longest = max([limits_in(await topic_configs(target, name, NAMES)).retention_ms for name in names], default=0)
        kept = limits_in(await topic_configs(target, topic, NAMES)).retention_ms
        if longest > kept:
            wanted = "-1" if longest >= NO_LIMIT else str(longest)
            await set_topic_configs(target, topic, {_RETENTION: wanted})
            _log.info("the proof is kept as long as what it proves", topic=topic, retention_ms=wanted)
    except BadInput:  # a topic that is not there yet, or not any more
        return
    except Permanent as error:
        hint = f"set {_RETENTION} of {topic} by hand to the longest of the topics of {site}"
        _log.warning("the proof may be deleted before what it proves", topic=topic, why=str(error), hint=hint)
