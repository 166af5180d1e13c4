"""Settings of the updater."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from headwater.contract.names import Name
from headwater.transport.objects.store import ObjectSettings


class UpdaterSettings(BaseModel):
    """Where models come from, how often to look, and what a model may cost while it is tried."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objects: ObjectSettings = Field(default_factory=ObjectSettings, description="The store with the signed models.")
    root_file: Path | None = Field(
        None,
        description="root.json of the fleet, written by `headwater fleet keys init`; by default in the state folder.",
    )
    asset_classes: tuple[Name, ...] = Field(("pump",), description="Classes of machines on this site.")
    poll_interval_s: float = Field(900.0, gt=0, description="Pause between two looks for a new rollout, in seconds.")
    jitter: float = Field(0.2, ge=0, le=1, description="Share by which each pause is made longer or shorter at random.")
    keep_versions: int = Field(3, ge=2, description="Versions of a class that stay on disk, for going back.")
    trial_timeout_s: float = Field(30.0, gt=0, description="How long the trial of a model may take, in seconds.")
    trial_memory_bytes: int = Field(
        1 << 30, ge=64 << 20, description="Address space that the trial process may use, in bytes."
    )
    score_budget_ms: float = Field(50.0, gt=0, description="Longest median time of one score in the trial, in ms.")
    short_lived: bool | None = Field(
        None,
        description="Look in a process that ends each time: 40 MB less in between, half a second of CPU a look. "
        "By default so when looks are a minute or more apart.",
    )
    metrics_port: int | None = Field(None, ge=1, le=65535, description="Port of Prometheus metrics, if any.")
    metrics_address: str = Field(
        "127.0.0.1", min_length=1, description="Address that metrics are served on; edge.metrics_address when unset."
    )

    @property
    def in_a_child(self) -> bool:
        """Whether each look happens in a process of its own."""
        return self.poll_interval_s >= 60 if self.short_lived is None else self.short_lived
