"""Every member of the pool keeps the same promises."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from threadpoolctl import threadpool_limits

from cloud_trainer.pool.detector import Detector, Member, score, vectors
from cloud_trainer.pool.estimators import BoostedTrees, Estimator
from cloud_trainer.pool.hotelling import Components, Hotelling
from cloud_trainer.pool.mixture import MixtureMember
from cloud_trainer.pool.networks import CONV, DENSE, TCN, NetworkMember
from cloud_trainer.series import Floats
from headwater.contract.errors import BadSetting, GateFailed
from headwater.transport import tflite
from tests.cloud_trainer.pool.windows import CHANNELS, WINDOW, windows


def network(family: str, layout: str, **more: object) -> NetworkMember:
    given = {"hidden": 8, "latent": 2, "kernel": 3, "steps": 60, "rate": 1e-2, "noise": 0.05, **more}
    return NetworkMember(family, layout, **given, shrink=0.01, horizon=2.0)  # type: ignore[arg-type]  # a stand-in that has what is used


SHIPPING: dict[str, Member] = {
    "t2": Hotelling(0.01, 2.0),
    "pca": Components(0.9, "summary", 0.01, 2.0),
    "pca-window": Components(0.9, "window", 0.01, 2.0),
    "mixture": MixtureMember(3, 0.01, 2.0),
    "dense": network(DENSE, "summary"),
    "dense-window": network(DENSE, "window"),
    "conv": network(CONV, "window"),
    "tcn": network(TCN, "window"),
    "dense-int8": network(DENSE, "summary", precision="int8"),
    "dense-window-int8": network(DENSE, "window", precision="int8"),
    "conv-int8": network(CONV, "window", precision="int8"),
    "tcn-int8": network(TCN, "window", precision="int8"),
}
YARDSTICKS: dict[str, Member] = {
    "trees": BoostedTrees(0.01, 2.0),
    "forest": Estimator("sklearn.ensemble.IsolationForest", {"n_estimators": 20}),
    "svm": Estimator("sklearn.svm.OneClassSVM", {"nu": 0.05}),
}
HEALTHY = {"lyon/rig-0": windows(700, 1), "osaka/rig-1": windows(500, 2)}
FITTED: dict[str, Detector] = {name: one.fit(HEALTHY, 7) for name, one in (SHIPPING | YARDSTICKS).items()}
SEEN = windows(400, 5)


@pytest.mark.parametrize("name", SHIPPING)
def test_the_same_windows_and_seed_give_the_same_file(name: str) -> None:
    """Fitted again, in another order of assets and with another number of threads: byte for byte the same .tflite."""
    with threadpool_limits(2):
        again = SHIPPING[name].fit(dict(HEALTHY), 7)
    assert again.export() == FITTED[name].export()


@pytest.mark.parametrize("name", ["mixture", "dense", "conv", "tcn"])
def test_another_seed_gives_another_network(name: str) -> None:
    """The seed is what a network begins with."""
    assert SHIPPING[name].fit(HEALTHY, 8).export() != FITTED[name].export()


@pytest.mark.parametrize("name", SHIPPING)
def test_the_runtime_computes_what_was_fitted(name: str) -> None:
    """The .tflite gives the same scores and contributions to 1e-5, for healthy windows and far outside of them."""
    detector, data = FITTED[name], FITTED[name].export()
    assert data is not None
    model = tflite.Model(data)
    for given in (SEEN, SEEN * 100, np.zeros_like(SEEN[:1])):
        rows = vectors(detector.layout, given)
        scores, parts = model.score(rows)
        wanted, of_parts = detector.score(rows)
        assert np.allclose(scores, wanted, rtol=1e-5, atol=0)
        assert np.allclose(parts, of_parts, rtol=1e-3, atol=1e-3 * float(of_parts.max()))
        assert np.allclose(parts.sum(axis=1), scores**2, rtol=1e-4)
    assert model.parts % len(CHANNELS) == 0


@pytest.mark.parametrize("name", [*SHIPPING, *YARDSTICKS])
def test_a_score_knows_nothing_of_what_comes_later(name: str) -> None:
    """Whatever replaces all readings after t, every window that ends at t or before has the same score, bit for bit."""
    stream = np.ascontiguousarray(windows(300, 9, step=1)[:, 0])  # as readings again
    other = stream.copy()
    at = 200
    other[at + 1 :] = np.random.default_rng(4).normal(size=other[at + 1 :].shape) * 1e3

    def cut(readings: Floats) -> Floats:
        found = np.lib.stride_tricks.sliding_window_view(readings, WINDOW, axis=0)
        return np.ascontiguousarray(found.transpose(0, 2, 1))

    known = at + 1 - WINDOW + 1
    before, after = (score(FITTED[name], cut(readings)) for readings in (stream, other))
    assert np.array_equal(before[0][:known], after[0][:known])
    assert np.array_equal(before[1][:known], after[1][:known])
    assert not np.array_equal(before[0][known:], after[0][known:])


@pytest.mark.parametrize("name", [*SHIPPING, *YARDSTICKS])
def test_contributions_are_by_channel_and_grow_where_something_is_off(name: str) -> None:
    """None is negative, there is one a channel, and that of a channel that jumps is far above its healthy one."""
    off = SEEN.copy()
    off[:, :, 1] += 4.0
    scores, parts = score(FITTED[name], off)
    assert parts.shape == (len(off), len(CHANNELS))
    assert (parts >= 0).all()
    assert np.isfinite(scores).all()
    assert parts[:, 1].mean() > 2 * score(FITTED[name], SEEN)[1][:, 1].mean()


def test_yardsticks_have_no_file() -> None:
    """What scikit-learn fits is compared and never shipped."""
    assert [FITTED[name].export() for name in YARDSTICKS] == [None] * 3


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("os.system", {}, "no estimator of scikit-learn"),
        ("sklearn.ensemble.NoForest", {}, "scikit-learn has no"),
        ("sklearn.nowhere.Forest", {}, "cannot be loaded"),
        ("sklearn.ensemble.IsolationForest", {"trees": 3}, "does not take"),
        ("sklearn.cluster.KMeans", {"n_clusters": 2}, "neither score_samples nor decision_function"),
    ],
)
def test_an_estimator_that_cannot_join_says_why(name: str, parameters: dict[str, object], said: str) -> None:
    """A wrong name or parameter is a setting with a sentence; nothing outside scikit-learn is imported."""
    with pytest.raises(BadSetting, match=said):
        Estimator(name, parameters).fit(HEALTHY, 1)


def test_an_estimator_that_cannot_be_fitted_is_out() -> None:
    """What scikit-learn refuses at the fit ends that yardstick, with its reason."""
    with pytest.raises(GateFailed, match="cannot be fitted"):
        Estimator("sklearn.svm.OneClassSVM", {"nu": 7.0}).fit(HEALTHY, 1)


@pytest.mark.parametrize("name", ["dense", "conv", "tcn"])
def test_int8_layers_find_what_float32_layers_find(name: str) -> None:
    """Stored in int8 a network scores healthy windows within a tenth of what it does in float32."""
    exact, stored = FITTED[name], FITTED[f"{name}-int8"]
    rows = vectors(exact.layout, SEEN)
    apart = np.abs(stored.levels(rows) / exact.levels(rows) - 1)
    assert np.quantile(apart, 0.99) < 0.1
    assert stored.export() != exact.export()


def test_numbers_in_int8_come_in_and_go_out_as_float32() -> None:
    """Nobody at the edge needs scales and zeros: the graph has them."""
    data = FITTED["tcn-int8"].export()
    assert data is not None
    graph = schema.ModelT.InitFromPackedBuf(data).subgraphs[0]
    ends = [*graph.inputs, *graph.outputs]
    assert {graph.tensors[at].type for at in ends} == {schema.TensorType.FLOAT32}
    assert schema.TensorType.INT8 in {tensor.type for tensor in graph.tensors}
