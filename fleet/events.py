"""The record of what operators and rollouts did: one JSON record an event on `fleet-events`, keyed by rollout."""

from __future__ import annotations

import getpass
import time
from typing import Protocol

import msgspec

from headwater.contract import topics
from headwater.contract.messages import encode
from headwater.contract.rollout import Rollout
from headwater.transport.kafka_batch.settings import KafkaSettings


class FleetEvent(msgspec.Struct, frozen=True):
    """A generation that was published, by whom and why."""

    event: str
    rollout_id: str
    asset_class: str
    generation: int
    state: str
    target: int
    reached: int
    sites: int
    by: str
    at: int
    detail: str = ""
    v: int = 1


class Journal(Protocol):
    """Where events go."""

    def write(self, event: str, rollout: Rollout, detail: str = "") -> None:
        """Write one event; returns when it is stored."""
        ...


class KafkaJournal:
    """Events in the cloud's Kafka; makes the topic at the first event."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._ready = False

    def write(self, event: str, rollout: Rollout, detail: str = "") -> None:
        """See Journal. Unreachable when the cluster does not acknowledge."""
        from headwater.transport import kafka  # noqa: PLC0415  # librdkafka, which `--help` does not need

        if not self._ready:
            kafka.ensure_topics(self._settings, topics.cloud_topics())
            self._ready = True
        record = FleetEvent(
            event, rollout.rollout_id, rollout.asset_class, rollout.generation, rollout.state, rollout.target.version,
            rollout.reached, len(rollout.sites), getpass.getuser(), int(time.time() * 1000), detail,
        )  # fmt: skip
        kafka.send(self._settings, topics.FLEET_EVENTS, rollout.rollout_id.encode(), encode(record))
