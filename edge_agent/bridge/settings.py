"""Settings of the bridge."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge_agent.bridge.route import check_template


class BridgeSettings(BaseModel):
    """Where names come from, and how long a record may wait for company."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: str = Field(
        "{site}/{class}/{asset}",
        description="MQTT topics to take in: {site} is this site, {class} and {asset} name a machine, + is any word.",
    )
    linger_ms: float = Field(
        2.0, ge=0, le=1000, description="How long a record waits for others of its partition while Kafka is idle."
    )
    batch_bytes: int = Field(
        256 << 10, ge=1 << 10, le=900 << 10, description="Uncompressed size at which a batch is written at once."
    )
    codec: Literal["none", "lz4", "zstd"] = Field("lz4", description="Compression of the batches.")
    drain_s: float = Field(
        10.0, ge=0, description="Longest wait at a stop for Kafka to take what was received; MQTT keeps the rest."
    )

    @field_validator("topic")
    @classmethod
    def _usable(cls, value: str) -> str:
        check_template(value)
        return value
