"""Yardsticks from scikit-learn: they show what the data allow, and never ship.

Any estimator of scikit-learn joins that has `fit(X)` and `score_samples` or `decision_function`, of both of which low
values are odd; its parts are by occlusion: how much the score falls when a channel's features are put to their median.
Gradient-boosted trees predict each mean and spread from those of the other channels, and T² judges what is left over.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from cloud_trainer.linear import Linear
from cloud_trainer.pool.detector import Healthy, Layout, vectors
from cloud_trainer.pool.hotelling import whiten
from cloud_trainer.series import Floats, Vectors
from headwater.contract.errors import BadSetting, GateFailed

TREES = "gradient-boosted-trees"
_BOOSTED = "sklearn.ensemble.HistGradientBoostingRegressor"
_TREES = {"max_iter": 30, "learning_rate": 0.15, "max_leaf_nodes": 15}
_LOADED_S = 1.0  # seconds for scikit-learn to be imported
_MOST_FITTED = 4_000  # rows: some estimators take time by their square


@dataclass(frozen=True)
class Boosted:
    """Trees that know each feature from those of the other channels, and T² of what they do not explain."""

    models: tuple[Any, ...]
    head: Linear
    layout: Layout = "summary"

    def score(self, rows: Vectors) -> tuple[Floats, Floats]:
        """See Detector."""
        return self.head.score(_unexplained(self.models, rows))

    def levels(self, rows: Vectors) -> Floats:
        """See Detector."""
        return self.score(rows)[0]

    def export(self) -> None:
        """A yardstick does not ship."""
        return


@dataclass(frozen=True)
class BoostedTrees:
    """Gradient-boosted trees as a yardstick (Friedman 2001; histograms as in LightGBM)."""

    shrink: float
    horizon: float
    family: str = TREES

    @property
    def settings(self) -> dict[str, float | int | str]:
        """See Member."""
        return dict(_TREES)

    def seconds(self, windows: int, window: int, channels: int) -> float:  # noqa: ARG002  means and spreads only
        """See Member."""
        return _LOADED_S + 2 * channels * (0.1 + min(windows, _MOST_FITTED) * channels * 1.2e-5)

    def fit(self, healthy: Healthy, seed: int) -> Boosted:
        """See Member."""
        kind = _class(_BOOSTED)
        rows = {key: vectors("summary", windows) for key, windows in healthy.items()}
        some = _some(rows)
        models = []
        with _ours(f"{_BOOSTED} cannot be fitted"):
            for target in range(some.shape[1]):
                model = kind(random_state=seed, early_stopping=False, **_TREES)
                models.append(model.fit(_others(some, target), some[:, target]))
        parts = {key: _unexplained(tuple(models), own) for key, own in rows.items() if len(own)}
        return Boosted(tuple(models), whiten(parts, self.shrink, self.horizon))


def _others(rows: Vectors, target: int) -> Vectors:
    """Rows without the features of the channel that `target` is of."""
    channels = rows.shape[1] // 2
    return rows[:, np.arange(rows.shape[1]) % channels != target % channels] if channels > 1 else rows[:, :0]


def _unexplained(models: tuple[Any, ...], rows: Vectors) -> Vectors:
    if not len(rows):
        return rows
    with _ours(f"{_BOOSTED} does not predict"):
        known = [model.predict(_others(rows, target)) for target, model in enumerate(models)]
    return np.asarray(rows - np.stack(known, axis=1), dtype=np.float32)


@dataclass(frozen=True)
class Estimated:
    """A fitted estimator of scikit-learn; `middle` and `scale` of the features that it was fitted to."""

    estimator: Any
    middle: Vectors
    scale: Vectors
    layout: Layout = "summary"

    def score(self, rows: Vectors) -> tuple[Floats, Floats]:
        """Scores, and by occlusion the part of each channel; see Detector."""
        scores = self.levels(rows)
        channels = rows.shape[1] // 2
        parts = np.zeros((len(rows), channels))
        for channel in range(channels):
            hidden = rows.copy()
            hidden[:, channel::channels] = self.middle[channel::channels]
            parts[:, channel] = np.maximum(scores - self.levels(hidden), 0)
        return scores, parts

    def levels(self, rows: Vectors) -> Floats:
        """See Detector."""
        if not len(rows):
            return np.zeros(0)
        with _ours(f"{type(self.estimator).__name__} does not score"):
            given = getattr(self.estimator, "score_samples", None) or self.estimator.decision_function
            return -np.asarray(given((rows - self.middle) / self.scale), dtype=np.float64).reshape(len(rows))

    def export(self) -> None:
        """A yardstick does not ship."""
        return


@dataclass(frozen=True)
class Estimator:
    """The adapter: `name` is an estimator's full name, such as `sklearn.ensemble.IsolationForest`."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """See Member."""
        return self.name.rpartition(".")[2]

    @property
    def settings(self) -> dict[str, float | int | str]:
        """See Member."""
        return {
            name: value if isinstance(value, int | float) else f"{value}" for name, value in self.parameters.items()
        }

    def seconds(self, windows: int, window: int, channels: int) -> float:  # noqa: ARG002  means and spreads only
        """See Member."""
        return _LOADED_S + 0.3 + min(windows, _MOST_FITTED) * channels * 4e-5

    def resolve(self) -> None:
        """BadSetting where scikit-learn has no such class."""
        _class(self.name)

    def fit(self, healthy: Healthy, seed: int) -> Estimated:
        """See Member; BadSetting where it is no estimator that can score, GateFailed where it cannot be fitted."""
        kind = _class(self.name)
        given = dict(self.parameters)
        if "random_state" in inspect.signature(kind).parameters:
            given.setdefault("random_state", seed)
        try:
            estimator = kind(**given)
        except TypeError as error:
            raise BadSetting(f"{self.name} does not take {sorted(given)}: {error}") from error
        rows = _some({key: vectors("summary", windows) for key, windows in healthy.items()})
        middle, scale = np.median(rows, axis=0), rows.std(axis=0) + np.float32(1e-6)
        with _ours(f"{self.name} cannot be fitted"):
            estimator.fit((rows - middle) / scale)
        if not (hasattr(estimator, "score_samples") or hasattr(estimator, "decision_function")):
            raise BadSetting(f"{self.name} has neither score_samples nor decision_function", hint="an outlier detector")
        return Estimated(estimator, middle.astype(np.float32), scale.astype(np.float32))


@contextmanager
def _ours(what: str) -> Iterator[None]:
    """Scikit-learn on one thread; GateFailed for whatever an estimator raises, of which there are many kinds."""
    try:
        with threadpool_limits(1):
            yield
    except Exception as error:  # foreign exceptions end here: any class of scikit-learn may be named
        raise GateFailed(f"{what}: {error}") from error


def _some(rows: Mapping[str, Vectors]) -> Vectors:
    everything = np.concatenate(list(rows.values()))
    return everything[:: -(-len(everything) // _MOST_FITTED)]


def _class(name: str) -> Any:
    module, _, kind = name.rpartition(".")
    if not module.startswith("sklearn."):
        raise BadSetting(f"{name} is no estimator of scikit-learn", hint="such as sklearn.ensemble.IsolationForest")
    try:
        found = getattr(importlib.import_module(module), kind, None)
    except ImportError as error:
        missing = "install the extra `train`" if (error.name or "").partition(".")[2] == "" else "check its name"
        raise BadSetting(f"{name} cannot be loaded: {error}", hint=missing) from error
    if not inspect.isclass(found):
        raise BadSetting(f"scikit-learn has no {name}", hint="such as sklearn.ensemble.IsolationForest")
    return found
