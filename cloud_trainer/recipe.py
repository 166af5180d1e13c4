"""How a model is made: every number that training does not take from the data, with its reason.

None of them is fitted to a data set; what each one trades is said beside it, and the plant simulator's campaign
(tests/cloud_trainer) holds the defaults to their goals.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from headwater.contract.alarm import AlarmRule


class Recipe(BaseModel):
    """Windows, alarm rule, covariance and thresholds. Counts of readings assume a steady rate."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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
    alarms_a_week: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="False alarms of a machine that are bearable in a week. With it alarms follow the machine, and the "
        "margin is made for it; without it thresholds are fixed, by `margin`.",
    )
    least: int = Field(5, ge=1, description="Windows that the fit needs for each feature.")

    lead: int = Field(
        60, ge=0, description="Readings before an alarm that are not learned from: the fault was growing unseen."
    )

    budget_s: float = Field(
        0.0,
        ge=0,
        description="Seconds on the reference core for other detectors to compete with T²; 0: T² alone.",
    )
    seed: int = Field(1, ge=0, description="What networks begin with, what is tried, and which faults are injected.")
    precision: Literal["float32", "int8"] = Field(
        "float32", description="What the layers of networks are computed in; int8 is calibrated on training windows."
    )
    estimators: dict[str, dict[str, Any]] = Field(
        {"sklearn.ensemble.IsolationForest": {}},
        description="Yardsticks of the contest: estimators of scikit-learn with their parameters; they never ship.",
    )

    accept: list[str] = Field(
        [],
        description="Errors of the data checks that are meant so, by name, such as clock:hours (train dataset check).",
    )
    most_records: int = Field(
        2_000_000, ge=1, description="Readings in a dataset, 500 bytes of memory each; the newest where none are named."
    )

    @property
    def rule(self) -> AlarmRule:
        """When alarms open and close."""
        return AlarmRule(self.open_after, self.close_after, self.recovery)
