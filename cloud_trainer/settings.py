"""Settings of the trainer."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from cloud_trainer.recipe import Recipe
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.objects.store import ObjectSettings


class TrainerSettings(BaseModel):
    """Where readings come from, where models go, and how they are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: KafkaSettings = Field(
        KafkaSettings(brokers="127.0.0.1:9092"), description="The cloud's Kafka cluster, that the sites replicate into."
    )
    objects: ObjectSettings = Field(
        default_factory=ObjectSettings, description="The store that signed models are published to."
    )
    keys: Path = Field(
        Path("keys"), description="Folder with root.json and the keys of models, snapshot and timestamp."
    )
    group: str = Field("headwater-trainer", min_length=1, description="Consumer group that shares out the requests.")
    recipe: Recipe = Field(Recipe(), description="How a model is made.")
    metrics_port: int | None = Field(None, ge=1, le=65535, description="Port of Prometheus metrics, if any.")
    metrics_address: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that metrics are served on; 0.0.0.0 in a container, to whoever reaches it.",
    )
