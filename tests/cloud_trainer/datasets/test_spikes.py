"""One value that no machine reads does not make a model deaf; how machines run is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cloud_trainer import train
from cloud_trainer.datasets.building import from_folder, from_recordings
from cloud_trainer.datasets.checks import Report, check, examine
from cloud_trainer.datasets.columns import Table
from cloud_trainer.datasets.spikes import bands, tamed, wild
from cloud_trainer.making import make, make_manifest
from cloud_trainer.recipe import Recipe
from cloud_trainer.running.runner import open_runner
from cloud_trainer.running.sites import calibrate
from cloud_trainer.series import Series, TrainingSet
from headwater.contract.manifest import Dataset
from tests.cloud_trainer.datasets import recorded
from tests.cloud_trainer.datasets.test_checks import CHANNELS, ROWS, tables

RECIPE = Recipe(window=8, step=2)


def of(changed: dict[str, Table], recipe: Recipe | None = None) -> Report:
    return examine(changed, CHANNELS, {}, recipe or Recipe())


def spoilt(path: Path, value: str, row: int = 500) -> Path:
    """Three recordings of 600 rows; one value of one of them, held out, is another."""
    recorded.folder(path, 600)
    if value:
        lines = recorded.rows(600, 2)
        lines[row][1] = value
        recorded.write(path / "rig-2.csv", lines)
    return path


@pytest.mark.parametrize("value", ["-9999", "65535", "812.5"])
def test_one_wild_value_does_not_deafen(value: str, tmp_path: Path) -> None:
    """Thresholds stay within a tenth of what they are without it; as they come they would be many times as high."""
    clean = from_folder(spoilt(tmp_path / "clean", ""), "rig", "lyon")
    with_it = from_folder(spoilt(tmp_path / "spoilt", value), "rig", "lyon")
    before, after = make(clean, RECIPE), make(with_it, RECIPE)
    for key, threshold in before.trained.thresholds.items():
        assert after.trained.thresholds[key] == pytest.approx(threshold, rel=0.1)
    deaf = train.train(with_it, RECIPE).thresholds
    assert deaf[""] > 3 * before.trained.thresholds[""]
    assert make_manifest("r", 1, after).metrics["values_taken_for_missing"] == {"flow": 1}
    assert "values_taken_for_missing" not in make_manifest("r", 1, before).metrics
    assert before.model == make(clean, RECIPE).model
    accepted = make(with_it, RECIPE.model_copy(update={"accept": ["spike:flow"]}))
    assert accepted.trained.thresholds == deaf


def test_a_thousand_sites_are_as_robust(tmp_path: Path) -> None:
    """The threshold of the asset that has the value is as it would be without."""
    clean = from_folder(spoilt(tmp_path / "clean", ""), "rig", "lyon")
    with_it = from_folder(spoilt(tmp_path / "spoilt", "-9999"), "rig", "lyon")
    made = make(clean, RECIPE)
    manifest = make_manifest("r", 1, made)
    with open_runner("pool", 1) as runner:
        found = [calibrate(manifest, made.model, each, RECIPE, runner).manifest.thresholds for each in (clean, with_it)]
    assert found[1]["lyon/rig-2"] == pytest.approx(found[0]["lyon/rig-2"], rel=0.1)


def test_what_was_found_is_named(tmp_path: Path) -> None:
    """Channel, asset, how often, and where one is."""
    (one,) = check(from_recordings(spoilt(tmp_path, "-9999"), "rig", "lyon"), RECIPE).findings
    assert (one.level, one.name) == ("warning", "spike:flow")
    assert one.detail.startswith("-9999 (as for no value) once at lyon/rig-2, such as offset 500: training takes them")
    given = tables()
    given["site-1/rig"].values[100:400:2, 0] = -999.9
    given["site-2/rig"].values[50:54, 0] = (1e6, 30.0, 30.0, -1e6)
    (one,) = (each for each in of(given).findings if each.check == "spike")
    assert "-999.9 (as for no value) 150 times at site-1/rig, such as offset 100" in one.detail
    assert "1e+06 (far from all others) 2 times at site-2/rig, such as offset 50" in one.detail
    (accepted,) = (each for each in of(given, Recipe(accept=["spike:flow"])).findings if each.check == "spike")
    assert "learned from as they are" in accepted.detail


def test_spikes_that_are_often_are_refused() -> None:
    """They are how the machine runs, or a sensor that is broken: nothing is taken out, and somebody has to look."""
    given = tables()
    given["site-1/rig"].values[::30, 0] = 5000.0
    (one,) = of(given).errors
    assert one.name == "spike:flow"
    assert not wild(given["site-1/rig"].values[:, 0]).missing.any()
    assert not of(given, Recipe(accept=["spike:flow"])).errors


def test_how_machines_run_is_left_alone() -> None:
    """A machine that is off for a while, a valve that opens rarely, a counter that comes to 999, and heavy tails."""
    rng = np.random.default_rng(2)
    off = rng.normal(30, 1, ROWS)
    off[200:230] = 0.0
    valve = np.zeros(ROWS)
    valve[::50] = 1.0
    counter = np.arange(ROWS, dtype=np.float64) + 700
    tails = rng.standard_t(3, ROWS)
    gaps = np.full(ROWS, np.nan)
    for values in (off, valve, counter, tails, gaps, np.full(ROWS, 999.0)):
        found = wild(values)
        assert not (found.sentinel | found.spike).any()


def test_good_readings_are_the_very_same(tmp_path: Path) -> None:
    """Nothing is copied or changed where nothing is wild."""
    learn = from_folder(spoilt(tmp_path, ""), "rig", "lyon")
    assert tamed(learn, [])[0] is learn


def test_a_sentinel_that_is_most_of_the_readings_is_refused() -> None:
    """The edge would see hardly anything else: somebody has to look. It is missing all the same."""
    rng = np.random.default_rng(4)
    for count, is_often in ((190, False), (230, True), (400, True)):
        given = tables()
        key = "site-1/rig"
        rows = rng.permutation(400)[:count]
        given[key] = given[key]._replace(values=given[key].values.copy())
        given[key].values[400:] = np.nan
        given[key].values[rows, 0] = -9999.0
        (one,) = (each for each in of(given).findings if each.check == "spike")
        assert one.level == ("error" if is_often else "warning")
        assert f"-9999 (as for no value) {count} times at {key}" in one.detail
        others = bands([each.values for each in given.values()])[0]
        assert wild(given[key].values[:, 0], others).missing.sum() == count


def test_an_asset_with_few_readings_is_held_against_its_class() -> None:
    """Sixty readings of one asset say little, hundreds of all do. Few in all say nothing, and nothing is taken out."""
    rng = np.random.default_rng(5)
    series = {}
    for number in range(12):
        values = rng.normal(30, 1, (60, 1))
        if not number:
            values[20] = -9999.0
        series[f"site/rig-{number}"] = Series(np.arange(60) * 1000, values, np.zeros(60, np.int64))
    source = Dataset({}, "", 720, {})
    tame, counts = tamed(TrainingSet("rig", ("flow",), series, source), [])
    assert counts == {"flow": 1}
    assert np.isnan(tame.series["site/rig-0"].values[20, 0])
    alone = TrainingSet("rig", ("flow",), {"site/rig-0": series["site/rig-0"]}, source)
    assert tamed(alone, []) == (alone, {})


def test_a_rise_that_ends_with_the_failure_is_none() -> None:
    """What a machine reads when it fails it never read; a sentinel there is missing as anywhere."""
    rng = np.random.default_rng(6)
    values = rng.normal(30, 1, 200)
    values[50] = 90.0
    values[197:] = 60.0, 90.0, 150.0
    assert np.flatnonzero(wild(values, None, [199]).missing).tolist() == [50]
    assert wild(values, None, [199]).is_often is False
    assert wild(values).is_often
    values[199] = -9999.0
    assert np.flatnonzero(wild(values, None, [199]).missing & wild(values).sentinel).tolist() == [199]
