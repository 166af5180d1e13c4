"""Settings of the proof."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ProofSettings(BaseModel):
    """What a link proves, at most 0.2 % of what it ships."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=True, description="whether the manifest is written beside the data")
    sha256: bool = Field(
        default=False, description="SHA-256 of the records in each entry too; unpacks every batch, which costs CPU"
    )
    interval_s: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="an entry is written after this time, or as soon as it costs at most 0.2 %",
    )

    @model_validator(mode="after")
    def _contradictions(self) -> ProofSettings:
        if self.sha256 and not self.enabled:
            raise ValueError("sha256 = true without a manifest to be in (enabled = false): drop one of the two")
        return self
