"""What readings looked like in training, in the bins of `headwater.contract.sketches`."""

from __future__ import annotations

import numpy as np

from cloud_trainer.series import TrainingSet
from headwater.contract.features import FeatureSpec
from headwater.contract.sketches import channel_of, merged


def reference(spec: FeatureSpec, learn: TrainingSet) -> dict[str, list[int]]:
    """Counts by bin of each channel over all readings that were learned from, each asset in its own scale."""
    found = {}
    for own, channel in enumerate(spec.channels):
        column, parts = learn.channels.index(channel), []
        for key, series in learn.series.items():
            scaling = spec.scaling_of(key)
            values = np.asarray(series.values[:, column], np.float64)
            parts.append(channel_of((values - scaling.centre[own]) / scaling.scale[own]))
        found[channel] = list(merged(parts).bins)
    return found
