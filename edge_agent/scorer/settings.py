"""Settings of the scorer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ScorerSettings(BaseModel):
    """How often the scorer looks, remembers and reports. Counts of readings are per partition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status_interval_s: float = Field(60.0, gt=0, description="A status is written at least this often.")
    checkpoint_interval_s: float = Field(
        10.0,
        gt=0,
        description="State is written this often while readings come; it bounds the replay after a crash.",
    )
    checkpoint_readings: int = Field(
        20_000, ge=1, description="State is written after this many readings of a partition, if that is sooner."
    )
    chunk_readings: int = Field(
        1_000, ge=1, description="Readings of a partition that are judged in one go; timers run between chunks."
    )
    poll_interval_s: float = Field(
        0.2, gt=0, le=5, description="Longest wait for new readings before desired.json and the timers are looked at."
    )
    fetch_bytes: int = Field(
        1 << 19, ge=1 << 16, description="Most bytes that one fetch brings; memory grows with it, and by its inflation."
    )
    rewind_readings: int = Field(
        50_000,
        ge=0,
        description="Most readings of a partition that are read again to fill windows of another length, or lives.",
    )
    sketch_readings: int = Field(
        1_000, ge=0, description="Readings of an asset in one sketch, by which the cloud sees drift; 0 writes none."
    )
    metrics_port: int | None = Field(None, ge=1, le=65535, description="Port of Prometheus metrics, if any.")
    metrics_address: str = Field(
        "127.0.0.1", min_length=1, description="Address that metrics are served on; edge.metrics_address when unset."
    )
