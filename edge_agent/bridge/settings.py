"""Settings of the bridge."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from edge_agent.bridge.route_settings import RouteSettings


class BridgeSettings(BaseModel):
    """Where names come from, and how long a record may wait for company."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    routes: tuple[RouteSettings, ...] = Field(
        (RouteSettings(),), min_length=1, description="What becomes of which messages; the first that fits has it."
    )
    gather_ms: float = Field(
        4.0, ge=0, le=1000, description="At low rates messages are gathered for as long, so that CPU is saved."
    )
    batch_bytes: int = Field(
        256 << 10, ge=1 << 10, le=900 << 10, description="Uncompressed size at which a batch is written at once."
    )
    codec: Literal["none", "lz4", "zstd"] = Field("lz4", description="Compression of the batches.")
    drain_s: float = Field(
        10.0, ge=0, description="Longest wait at a stop for Kafka to take what was received; MQTT keeps the rest."
    )
