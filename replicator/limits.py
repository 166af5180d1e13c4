"""What a target topic takes, as its configuration says, and when that was asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog

from headwater.contract.errors import Permanent
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.administration import topic_configs

_log = structlog.get_logger(__name__)
NO_LIMIT = (1 << 63) - 1  # what Kafka itself writes for none
_BYTES = "max.message.bytes"
_BEFORE = "message.timestamp.before.max.ms"
_AFTER = "message.timestamp.after.max.ms"
_EITHER_WAY = "message.timestamp.difference.max.ms"  # before Kafka 3.6 the one name for both
_POLICY = "cleanup.policy"
_RETENTION = "retention.ms"
NAMES = (_BYTES, _BEFORE, _AFTER, _EITHER_WAY, _POLICY, _RETENTION)
_FRESH_S = 30.0


class Limits(NamedTuple):
    """Bytes of a batch with its header; ms that a timestamp may lie behind or ahead of the broker's clock.

    `retention_ms`: age at which the topic deletes records.
    """

    batch_bytes: int = NO_LIMIT
    before_ms: int = NO_LIMIT
    after_ms: int = NO_LIMIT
    retention_ms: int = NO_LIMIT
    compacted: bool = False

    @property
    def bounds_times(self) -> bool:
        """Whether there is a timestamp that it does not take."""
        return min(self.before_ms, self.after_ms) < NO_LIMIT


def limits_in(configs: Mapping[str, str]) -> Limits:
    """Read a topic's configuration; what is not named does not limit."""
    either = configs.get(_EITHER_WAY, str(NO_LIMIT))
    policy = configs.get(_POLICY, "delete")
    retention = int(configs.get(_RETENTION, -1)) if "delete" in policy else -1
    return Limits(
        batch_bytes=int(configs.get(_BYTES, NO_LIMIT)),
        before_ms=int(configs.get(_BEFORE, either)),
        after_ms=int(configs.get(_AFTER, either)),
        retention_ms=retention if retention >= 0 else NO_LIMIT,
        compacted="compact" in policy,
    )


class TopicLimits:
    """The limits of one target topic, for all of its partitions. What may not be asked is learnt from refusals."""

    def __init__(self, target: Cluster, topic: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.topic = topic
        self.now = Limits()
        self._target = target
        self._clock = clock
        self._asked: float | None = None
        self._mute = False

    async def refresh(self, *, at_once: bool = False) -> None:
        """Ask the target, if it was not asked within 30 s; Transient if it does not answer."""
        now = self._clock()
        if self._mute or (not at_once and self._asked is not None and now - self._asked < _FRESH_S):
            return
        try:
            self.now = limits_in(await topic_configs(self._target, self.topic, NAMES))
        except Permanent as error:
            self._mute = True
            _log.warning(
                "the limits of a topic are learnt from refusals", topic=self.topic, why=str(error), hint=error.hint
            )
        self._asked = now
