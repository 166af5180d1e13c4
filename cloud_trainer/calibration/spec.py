"""What a manifest says of episodes, from the healthy windows that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import numpy as np

from cloud_trainer.calibration import limits
from cloud_trainer.calibration.budget import Margin, margin
from cloud_trainer.calibration.limits import BLOCKS, healthy
from cloud_trainer.series import TrainingSet
from headwater.contract.episodes import EpisodeRule, Floats
from headwater.contract.errors import BadInput, GateFailed
from headwater.contract.features import CLASS_WIDE, FeatureSpec, Scaling
from headwater.contract.following import EpisodeSpec, Healthy

_LEAST = 10 * BLOCKS  # windows of a machine that gets limits of its own


class Calibrated(NamedTuple):
    """What goes into the manifest, and what the margin stands on."""

    spec: EpisodeSpec
    margin: Margin


def calibrate(
    learn: TrainingSet, features: FeatureSpec, windows: Mapping[str, Floats], factor: float, episodes_a_week: float
) -> Calibrated:
    """Limits by machine and of the class, and the margin for a budget, pooled over the fleet.

    `windows` [n, window, channels] in channel units by `site/asset`; `factor`: thresholds are so many healthy limits of
    the network. GateFailed where too few windows are there.
    """
    rows = {key: rows_of(features.scaling_of(key), values) for key, values in windows.items()}
    rows = {key: each for key, each in rows.items() if len(each) >= _LEAST}
    if not rows:
        raise GateFailed(
            f"no machine of {learn.asset_class} has {_LEAST} healthy windows to set limits with",
            hint="name a longer range, or a smaller trainer.recipe.step",
        )
    own = {key: found for key, each in rows.items() if (found := healthy_of(each)) is not None}
    centre = np.median([one.centre for one in own.values()], axis=0)
    widest = np.max([one.limits for one in own.values()], axis=0)
    rule = EpisodeRule()
    row_s = features.step * _period_s(learn)
    try:
        made = margin(list(rows.values()), episodes_a_week, row_s, 1, rule.onset)
    except BadInput as error:
        raise GateFailed(f"no margin for {episodes_a_week:g} alarms a week: {error}", hint=error.hint) from error
    of_class = Healthy(tuple(centre.tolist()), tuple(widest.tolist()))
    rule = EpisodeRule(margin=made.margin)
    return Calibrated(EpisodeSpec(rule, {CLASS_WIDE: of_class, **own}, factor, episodes_a_week), made)


def rows_of(scaling: Scaling, windows: Floats) -> Floats:
    """Scaled means [n, channels] of windows [n, window, channels] in channel units: what episodes look at."""
    return np.asarray(((windows - scaling.centre) / scaling.scale).mean(axis=1))


def healthy_of(rows: Floats) -> Healthy | None:
    """Where a machine runs and how far it goes, from scaled means [n, channels] of healthy windows; None: too few."""
    if len(rows) < _LEAST:
        return None
    channels = rows.shape[1]
    found = healthy(rows, limits.Scaling(np.zeros(channels), np.ones(channels)), 1)
    return Healthy(tuple(found.centre.tolist()), tuple(found.limits.tolist()))


def _period_s(learn: TrainingSet) -> float:
    """Seconds from one reading to the next, as usual over the machines."""
    periods = [median(b - a for a, b in pairwise(one.t.tolist())) for one in learn.series.values() if len(one) > 1]
    return max(0.001, median(periods) / 1000) if periods else 1.0
