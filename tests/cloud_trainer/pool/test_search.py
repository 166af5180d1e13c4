"""One challenger that cannot take part is out, and the others go on."""

from __future__ import annotations

import dataclasses
from typing import cast

import pytest

from cloud_trainer.pool import search
from cloud_trainer.pool.budget import Plan
from cloud_trainer.pool.detector import Detector, Healthy, Member
from cloud_trainer.pool.estimators import Estimator
from cloud_trainer.pool.hotelling import T2, Hotelling, LinearDetector
from cloud_trainer.pool.search import Outcome
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Floats, Vectors
from headwater.contract.errors import BadSetting, GateFailed
from tests.cloud_trainer.pool.windows import windows

HEALTHY: Healthy = {"a": windows(600, 1)}
HELD_OUT: Healthy = {"a": windows(400, 2)}
LINEAR = Hotelling(0.01, 2.0)


@dataclasses.dataclass(frozen=True)
class Unloadable:
    """Finds what T² finds, and its file is one that no runtime loads."""

    detector: Detector
    layout: str = "summary"

    def levels(self, rows: Vectors) -> Floats:
        return self.detector.levels(rows)

    def export(self) -> bytes:
        return b"\x1c\x00\x00\x00TFL3" + bytes(40)


class Refused(Hotelling):
    """A family whose models the runtime refuses."""

    def fit(self, healthy: Healthy, seed: int) -> LinearDetector:
        return cast("LinearDetector", Unloadable(super().fit(healthy, seed)))


class Unfit(Hotelling):
    """T² that cannot be fitted."""

    def fit(self, healthy: Healthy, seed: int) -> LinearDetector:
        raise GateFailed("too wild")


def run(monkeypatch: pytest.MonkeyPatch, other: Member, linear: Member = LINEAR) -> Outcome:
    planned = Plan({T2: [linear], other.family: [other]}, {}, 0.0)
    monkeypatch.setattr(search, "plan", lambda *_: planned)  # not the whole pool: it takes seconds
    return search.run(HEALTHY, HELD_OUT, Recipe(budget_s=1.0))


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("sklearn.base.BaseEstimator", {}, "has no attribute 'fit'"),
        ("sklearn.feature_extraction.text.CountVectorizer", {}, "cannot be fitted"),
        ("sklearn.cluster.KMeans", {"n_clusters": 2}, "neither score_samples nor decision_function"),
        ("sklearn.ensemble.IsolationForest", {"trees": 3}, "does not take"),
        ("sklearn.gaussian_process.GaussianProcessRegressor", {}, "cannot be fitted"),
    ],
)
def test_an_estimator_that_cannot_take_part_is_out(
    monkeypatch: pytest.MonkeyPatch, name: str, parameters: dict[str, object], said: str
) -> None:
    """It stands under those that failed, with its reason, and T² ships."""
    other = Estimator(name, parameters)
    outcome = run(monkeypatch, other)
    assert said in outcome.report["contest"]["failed"][other.family]
    assert outcome.name == T2


def test_a_model_that_the_runtime_refuses_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it finds: the table says why, and T² ships."""
    outcome = run(monkeypatch, Refused(0.01, 2.0, "refused"))
    assert list(outcome.report["contest"]["failed"]) == ["refused"]
    assert [each["name"] for each in outcome.report["challengers"]] == [outcome.name] == [T2]


def test_without_t2_there_is_no_contest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are held against it: where it cannot be fitted, its reason is that of the training."""
    with pytest.raises(GateFailed, match="too wild"):
        run(monkeypatch, Estimator("sklearn.ensemble.IsolationForest"), Unfit(0.01, 2.0))


def test_a_name_that_is_none_is_told_before_anything_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error ends training at once, not after minutes of trials."""
    with pytest.raises(BadSetting, match="scikit-learn has no"):
        run(monkeypatch, Estimator("sklearn.svm.Nope"), Unfit(0.01, 2.0))
