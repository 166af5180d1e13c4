"""Settings of the fleet commands."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.objects.store import ObjectSettings


class FleetSettings(BaseModel):
    """Where rollouts are signed into, with which keys, and where the sites report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: KafkaSettings = Field(
        KafkaSettings(brokers="127.0.0.1:9092"), description="The cloud's Kafka cluster, where the sites report."
    )
    objects: ObjectSettings = Field(
        default_factory=ObjectSettings, description="The store that signed models and rollouts are kept in."
    )
    keys: Path = Field(Path("keys"), description="Folder with root.json and the signing keys.")
    wave_timeout_s: float = Field(
        3600.0, gt=0, description="How long a wave may take until every site of it reports; then the rollout ends."
    )
    poll_interval_s: float = Field(0.5, gt=0, description="Pause between two looks at what the sites report.")
