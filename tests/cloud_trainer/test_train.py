"""Training: the same bytes from the same readings, no look into the future, no model from too little."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_trainer.making import make, make_manifest
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Series, TrainingSet, cut, vectors
from cloud_trainer.train import train
from headwater.app.plant.simulator import CHANNELS
from headwater.contract.errors import GateFailed
from headwater.contract.features import CLASS_WIDE
from headwater.contract.manifest import Dataset, decode_manifest
from tests.cloud_trainer.plant import healthy, series, training_set

RECIPE = Recipe()
ROWS = healthy(7, 600, pumps=2)
MADE = make(training_set(ROWS), RECIPE)


def changed(one: Series, **more: np.ndarray) -> Series:
    return Series(**{"t": one.t, "values": one.values, "stretch": one.stretch, **more})


def test_the_same_readings_give_the_same_bytes() -> None:
    """Twice from the same values, with assets in another order and another memory layout: one and the same .tflite."""
    again = {key: ROWS[key] for key in reversed(ROWS)}
    learn = training_set(again)
    laid_out = {key: changed(one, values=np.asfortranarray(one.values)) for key, one in learn.series.items()}
    other = make(TrainingSet("pump", CHANNELS, laid_out, learn.source), RECIPE)
    assert other.model == MADE.model
    assert other.trained.thresholds == MADE.trained.thresholds
    assert other.trained.spec.digest() == MADE.trained.spec.digest()


def test_a_manifest_says_what_it_was_made_from() -> None:
    """It reads back, fits the model, and has a threshold and a scaling for every asset and for the class."""
    manifest = decode_manifest(make_manifest("pump-1", 3, MADE).encode())
    assert manifest.request_id == "pump-1"
    assert manifest.version == 3
    assert set(manifest.thresholds) == set(manifest.features.scaling) == {*ROWS, CLASS_WIDE}
    assert manifest.metrics["windows_compared"] > 400


@given(at=st.integers(60, 590), noise=st.floats(-1e6, 1e6, allow_nan=False), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_a_score_knows_nothing_of_what_comes_later(at: int, noise: float, seed: int) -> None:
    """Whatever replaces the readings after t, every window that ends at t or before has the same score, bit for bit."""
    key = "lyon/pump-1"
    one = series(ROWS[key])
    values = one.values.copy()
    values[at + 1 :] = random.Random(seed).random() * noise
    other = changed(one, values=values)
    before = [cut(each, CHANNELS, MADE.trained.spec.channels, RECIPE) for each in (one, other)]
    scores = [MADE.trained.detector.score(vectors(MADE.trained.spec, key, each))[0] for each in before]
    known = before[0].last_row <= at
    assert np.array_equal(known, before[1].last_row <= at)
    assert known.any()
    assert np.array_equal(scores[0][known], scores[1][known])


def test_windows_do_not_reach_across_what_was_left_out() -> None:
    """Where readings were left out the window starts anew, and the first one after is full again."""
    one = series(ROWS["lyon/pump-1"])
    stretch = np.where(np.arange(len(one)) < 100, 0, 5)
    windows = cut(changed(one, stretch=stretch), CHANNELS, CHANNELS, RECIPE)
    assert not ((windows.first_row < 100) & (windows.last_row >= 100)).any()
    assert windows.first_row[windows.first_row >= 100][0] == 100


def test_a_channel_that_is_mostly_missing_is_left_out() -> None:
    """A model is made of the channels that the readings carry; the others are named in the metrics."""
    learn = training_set(ROWS)
    gone = {}
    for key, one in learn.series.items():
        values = one.values.copy()
        values[::3, CHANNELS.index("flow")] = np.nan
        gone[key] = changed(one, values=values)
    trained = train(TrainingSet("pump", CHANNELS, gone, learn.source), RECIPE)
    assert "flow" not in trained.spec.channels
    assert trained.metrics["channels_left_out"] == ["flow"]


def test_a_constant_channel_makes_no_trouble() -> None:
    """A channel that never moved has a positive scale, and a model comes out that scores its own data low."""
    learn = training_set(ROWS)
    still = {}
    for key, one in learn.series.items():
        values = one.values.copy()
        values[:, 0] = 32.0
        still[key] = changed(one, values=values)
    made = make(TrainingSet("pump", CHANNELS, still, learn.source), RECIPE)
    assert made.trained.detector.score(made.trained.vectors["lyon/pump-1"])[0].max() < 10


@pytest.mark.parametrize("count", [0, 15, 25, 60])
def test_too_little_data_is_no_model(count: int) -> None:
    """A few readings end in a refusal that says how many windows there were, not in a model."""
    learn = training_set({"lyon/pump-1": ROWS["lyon/pump-1"][:count]} if count else {})
    with pytest.raises(GateFailed, match=r"healthy (reading|windows)"):
        train(learn, RECIPE)


def test_values_beyond_float32_are_refused() -> None:
    """A sensor that sends 1e300 gives a sentence, not a model of infinities."""
    learn = training_set(ROWS)
    wild = {key: changed(one, values=one.values.copy()) for key, one in learn.series.items()}
    wild["lyon/pump-1"].values[300:320, 2] = 1e300
    with pytest.raises(GateFailed, match="too large"):
        train(TrainingSet("pump", CHANNELS, wild, Dataset({}, "", 0)), RECIPE)


def test_an_asset_that_stood_still_gets_the_scale_of_its_class() -> None:
    """A pump whose load never changed in training is not judged by its noise when the load changes."""
    learn = training_set(ROWS)
    key = "osaka/pump-2"
    one = learn.series[key]
    middle = one.values[300]
    calm = middle + (one.values - middle) * 0.3
    trained = train(
        TrainingSet("pump", CHANNELS, {**learn.series, key: changed(one, values=calm)}, learn.source), RECIPE
    )
    assert trained.spec.scaling[key].scale == trained.spec.scaling[CLASS_WIDE].scale


def test_one_hostile_sensor_does_not_end_the_training_of_its_class() -> None:
    """An asset whose readings have no finite scale is left out and named; the others get their model."""
    learn = training_set(ROWS)
    key = "osaka/pump-2"
    wild = learn.series[key].values.copy()
    wild[:, 2] = np.where(np.arange(len(wild)) % 2, 1e308, -1e308)
    series_of = {**learn.series, key: changed(learn.series[key], values=wild)}
    trained = train(TrainingSet("pump", CHANNELS, series_of, learn.source), RECIPE)
    assert trained.metrics["assets_left_out"] == [key]
    assert set(trained.spec.scaling) == {*ROWS, CLASS_WIDE} - {key}


@pytest.mark.parametrize("noise", [0.0, 1e-9])
@pytest.mark.parametrize("held_out", [7.0, 9.0])
def test_readings_that_stand_still_are_refused_for_what_they_are(noise: float, held_out: float) -> None:
    """Not for what a runtime makes of scores near zero: the sentence names channels and levels, and what to do."""
    values = 7.0 + np.random.default_rng(1).normal(0, 1, (600, 2)) * noise
    values[500:] = held_out
    one = Series(np.arange(600, dtype=np.int64) * 1000, values, np.zeros(600, np.int64))
    learn = TrainingSet("rig", ("current", "flow"), {"lyon/rig-1": one, "lyon/rig-2": one}, Dataset({}, "", 1200))
    with pytest.raises(GateFailed, match=r"every channel of rig stands still .*lyon/rig-1: current 7, flow 7") as told:
        make(learn, RECIPE)
    assert "runtime" not in str(told.value)
    assert "machines run" in told.value.hint


def test_one_channel_that_stands_still_is_no_reason_to_refuse() -> None:
    """The others say how far a healthy machine goes."""
    learn = training_set(ROWS)
    calm = {key: changed(one, values=one.values.copy()) for key, one in learn.series.items()}
    for one in calm.values():
        one.values[:, 0] = 3.0
    assert make(TrainingSet("pump", CHANNELS, calm, learn.source), RECIPE).trained.thresholds[CLASS_WIDE] > 0
