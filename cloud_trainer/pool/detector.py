"""What a challenger is: something that is fitted to healthy windows and then scores others.

Windows are scaled as the edge scales them: float64 [n, window, channels], each asset's in the order of time. A detector
sees nothing but the window that it scores, so that no score can know what comes later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np

from cloud_trainer.series import Floats, Vectors
from headwater.contract.features import LOG_FLOOR

Layout = Literal["summary", "window"]
Healthy = Mapping[str, Floats]  # windows by asset


class Detector(Protocol):
    """A fitted challenger."""

    @property
    def layout(self) -> Layout:
        """Which vectors it takes: means and spreads, or the scaled window itself."""
        ...

    def score(self, rows: Vectors) -> tuple[Floats, Floats]:
        """Scores [n] and contributions [n, P] of vectors [n, F]; P is a multiple of the channels, each part >= 0."""
        ...

    def levels(self, rows: Vectors) -> Floats:
        """The scores alone, where parts are not asked for."""
        ...

    def export(self) -> bytes | None:
        """The .tflite, which computes the same from the same vectors; None for a yardstick, which does not ship."""
        ...


class Member(Protocol):
    """One kind of detector with its hyper-parameters. The same windows and seed give the same detector, to the byte."""

    @property
    def family(self) -> str:
        """Kind of detector, as manifests name it."""
        ...

    @property
    def settings(self) -> dict[str, float | int | str]:
        """Hyper-parameters, for reports."""
        ...

    def seconds(self, windows: int, window: int, channels: int) -> float:
        """How long fitting takes on the reference core (budget.py), by the sizes alone."""
        ...

    def fit(self, healthy: Healthy, seed: int) -> Detector:
        """Fit to healthy windows."""
        ...


def vectors(layout: Layout, windows: Floats) -> Vectors:
    """Vectors float32 [n, F] of scaled windows [n, window, channels], as headwater/contract/features.py has them."""
    if layout == "window":
        return windows.reshape(len(windows), -1).astype(np.float32)
    means, spreads = windows.mean(axis=1), np.log(windows.std(axis=1) + LOG_FLOOR)
    return np.concatenate([means, spreads], axis=1).astype(np.float32)


def score(detector: Detector, windows: Floats) -> tuple[Floats, Floats]:
    """Scores [n] and contributions [n, channels] of scaled windows [n, window, channels]."""
    scores, parts = detector.score(vectors(detector.layout, windows))
    return scores, parts.reshape(len(windows), -1, windows.shape[2]).sum(axis=1)
