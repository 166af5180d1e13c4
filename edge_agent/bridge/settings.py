"""Settings of the bridge."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_agent.bridge.route_settings import RouteSettings, sparkplug_of
from headwater.transport.schema_registry_settings import SchemaRegistrySettings


class SpoolSettings(BaseModel):
    """The log on disk that messages wait in with `ack_after = spool`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int = Field(1 << 30, ge=4 << 20, description="Most that it takes of the disk.")
    full: Literal["stop", "drop-oldest", "drop-qos0"] = Field(
        "stop",
        description="When it is full: let the MQTT broker hold the rest; drop what is oldest, acknowledged or not; "
        "or from three quarters on drop messages at QoS 0 and let the broker hold the others.",
    )


class BridgeSettings(BaseModel):
    """Where names come from, and how long a record may wait for company."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    routes: tuple[RouteSettings, ...] = Field(
        (RouteSettings(),), min_length=1, description="What becomes of which messages; the first that fits has it."
    )
    ack_after: Literal["kafka", "spool"] = Field(
        "kafka",
        description="What must have a message before MQTT is told: Kafka, or the log on this box's disk; a Sparkplug "
        "route needs kafka.",
    )
    spool: SpoolSettings = Field(SpoolSettings(), description="Used with ack_after = spool.")
    gather_ms: float = Field(
        4.0, ge=0, le=1000, description="At low rates messages are gathered for as long, so that CPU is saved."
    )
    batch_bytes: int = Field(
        512 << 10,
        ge=1 << 10,
        le=900 << 10,
        description="Uncompressed size at which a batch is written at once; readings shrink to a fifth.",
    )
    codec: Literal["none", "lz4", "zstd"] = Field("lz4", description="Compression of the batches.")
    schemas: dict[str, Path] = Field({}, description="Files with schemas, by the name that decoders call them.")
    schema_registry: SchemaRegistrySettings | None = Field(
        None, description="Where schemas are that messages name by a number."
    )
    schema_wait_s: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="Longest wait for a registry that is away, all messages with it; then to dead-letters.",
    )
    clock_tolerance_s: float = Field(
        5.0, gt=0, description="How far the clock of an asset may be off before it is counted and named."
    )
    drain_s: float = Field(
        10.0, ge=0, description="Longest wait at a stop for Kafka to take what was received; MQTT keeps the rest."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if sparkplug_of(self.routes) is not None and self.ack_after == "spool":
            raise ValueError("a Sparkplug route needs ack_after = kafka: messages that wait for others are not spooled")
        return self
