"""Settings of what asks for training by itself."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field

from headwater.contract.messages import RetrainRequest
from headwater.contract.names import Name


class Scheduled(BaseModel):
    """A class that is trained anew every so often; periods are counted from 1970, so that restarts shift nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset_class: Name = Field(description="Asset class.")
    every_h: float = Field(gt=0, description="Length of a period in hours; one model is asked for in each.")

    def request(self, now_s: float) -> RetrainRequest:
        """The request of the period that this time (Unix, in seconds) is in."""
        length = self.every_h * 3600
        begin = datetime.fromtimestamp(int(now_s // length) * length, UTC)
        name = f"schedule-{self.asset_class}-{begin:%Y%m%dT%H%M%SZ}"
        reason = f"schedule: every {self.every_h:g} h, the period that began {begin:%Y-%m-%d %H:%M:%S} UTC"
        return RetrainRequest(name, self.asset_class, None, "headwater train serve", reason)


class DriftRecipe(BaseModel):
    """When a class counts as drifted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    psi: float = Field(0.25, gt=0, description="Population stability index of a channel from which it has shifted.")
    share: float = Field(0.5, gt=0, le=1, description="Share of a class's assets that must have shifted.")
    readings: int = Field(5_000, ge=1, description="Readings of an asset that are looked at together.")
    most_over: float = Field(
        0.05, ge=0, le=1, description="Share of scores over the threshold from which an asset is alarming instead."
    )
    rest_h: float = Field(
        24.0, ge=0, description="Hours after a version was made in which drift from it asks for no other."
    )
