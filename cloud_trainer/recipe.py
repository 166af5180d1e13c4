"""How a model is made: every number that training does not take from the data, with its reason.

None of them is fitted to a data set; what each one trades is said beside it, and the plant simulator's campaign
(tests/cloud_trainer) holds the defaults to their goals.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from headwater.contract.alarm import AlarmRule


class Recipe(BaseModel):
    """Windows, alarm rule, covariance and thresholds. Counts of readings assume a steady rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: int = Field(
        20, ge=2, le=10_000, description="Readings in a window: longer ones average more noise away, and answer later."
    )
    step: int = Field(5, ge=1, le=10_000, description="Readings from one window to the next.")
    max_gap_s: float = Field(30.0, gt=0, description="A jump of sensor time by more than this starts a window anew.")
    hold: int = Field(5, ge=0, description="Readings in a row for which a missing channel keeps its last value.")
    open_after: int = Field(3, ge=1, description="Scores in a row over the threshold that open an alarm.")
    close_after: int = Field(6, ge=1, description="Scores in a row under the recovery level that close it.")
    recovery: float = Field(0.8, gt=0, le=1, description="Share of the threshold under which a score counts as well.")
    present: float = Field(0.9, gt=0, le=1, description="Share of the readings that must carry a channel.")
    holdout: float = Field(
        0.3, gt=0, lt=1, description="Last share of each asset's readings, kept from the fit and used for thresholds."
    )
    shrink: float = Field(
        0.01, gt=0, le=1, description="Variance added to each feature, as a share of its own: bounds the whitening."
    )
    horizon: float = Field(
        2.0, ge=0, le=100, description="Lengths of the fitted range over which healthy drift is expected to go on."
    )
    block: int = Field(12, ge=1, description="Windows in a block whose highest sustained score is one observation.")
    floor: float = Field(
        0.95, ge=0, le=1, description="Quantile of the class's blocks below which no asset's threshold is set."
    )
    margin: float = Field(1.8, ge=1, description="Factor between the highest healthy score held out and the threshold.")
    least: int = Field(5, ge=1, description="Windows that the fit needs for each feature.")

    lead: int = Field(
        60, ge=0, description="Readings before an alarm that are not learned from: the fault was growing unseen."
    )

    most_records: int = Field(
        2_000_000, ge=1, description="Readings in a dataset, 500 bytes of memory each; the newest where none are named."
    )

    @property
    def rule(self) -> AlarmRule:
        """When alarms open and close."""
        return AlarmRule(self.open_after, self.close_after, self.recovery)
