"""Scaling and thresholds of many sites on one network: right, the same on every runner, and told when one is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cloud_trainer.cli import app
from cloud_trainer.local import write
from cloud_trainer.making import make, make_manifest
from cloud_trainer.recipe import Recipe
from cloud_trainer.running import runner as runners
from cloud_trainer.running.pool import ProcessPool
from cloud_trainer.running.runner import Runner, open_runner
from cloud_trainer.running.sites import Sites, calibrate, numbered
from cloud_trainer.series import Series, TrainingSet
from headwater.app.plant.simulator import ASSET_CLASS, CHANNELS, Plant
from headwater.contract.errors import BadInput, GateFailed
from headwater.contract.features import CLASS_WIDE
from headwater.contract.manifest import decode_manifest
from tests.cloud_trainer.plant import START_MS, healthy, training_set
from tests.cloud_trainer.running.test_runner import NEEDS_RAY

RECIPE = Recipe()
MADE = make(training_set(healthy(7, 600, pumps=2)), RECIPE)
BASE = make_manifest("pump-1", 4, MADE)


def fleet(count: int, readings: int = 300) -> TrainingSet:
    """One pump at each of many sites that the network has not seen."""
    plant = Plant(11, [f"site-{number}" for number in range(count)], 1, START_MS)
    rows = {f"{s}/{a}": [next(it) for _ in range(readings)] for s, a in plant.assets for it in [plant.readings(s, a)]}
    return training_set(rows)


FLEET = fleet(40)


@pytest.fixture(scope="module")
def pool() -> Iterator[Runner]:
    with open_runner("pool", 2) as opened:
        yield opened


@pytest.fixture(scope="module")
def found(pool: Runner) -> Sites:
    return of(FLEET, pool)


def of(learn: TrainingSet, runner: Runner) -> Sites:
    return calibrate(BASE, MADE.model, learn, RECIPE, runner)


def test_each_asset_gets_its_own_on_the_network_of_its_class(found: Sites) -> None:
    """The network, its proof and the class's own numbers stay; the rest is of the forty sites, and says so."""
    made = numbered(found, 5, "sites-1")
    assert (made.sha256, made.golden, made.parity) == (BASE.sha256, BASE.golden, BASE.parity)
    assert made.thresholds[CLASS_WIDE] == BASE.thresholds[CLASS_WIDE]
    assert made.features.scaling[CLASS_WIDE] == BASE.features.scaling[CLASS_WIDE]
    assert set(made.features.scaling) == set(made.thresholds) == {CLASS_WIDE, *FLEET.series}
    assert made.metrics["network_of_version"] == 4
    assert decode_manifest(made.encode()) == made
    medians = np.median(FLEET.series["site-3/pump-1"].values[:210], axis=0)
    order = [CHANNELS.index(channel) for channel in made.features.channels]
    assert made.features.scaling["site-3/pump-1"].centre == tuple(medians[order])


def test_on_its_own_training_set_it_finds_what_training_found(pool: Runner) -> None:
    """The same scaling to the bit; thresholds as exact as the runtime is, which is what scores here."""
    found = of(MADE.learn, pool).manifest
    assert found.features.digest() == BASE.features.digest()
    assert found.thresholds == pytest.approx(BASE.thresholds, rel=1e-5)


def test_processes_and_chunks_change_nothing(found: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, in other pieces and with the assets in another order: the same bytes."""
    monkeypatch.setattr(runners, "CHUNK", 3)
    turned = TrainingSet(FLEET.asset_class, FLEET.channels, dict(reversed(FLEET.series.items())), FLEET.source)
    with ProcessPool(1) as one:
        assert of(turned, one).manifest.encode() == found.manifest.encode()


@NEEDS_RAY
def test_ray_finds_the_same_bytes(found: Sites) -> None:
    """A local Ray cluster instead of the pool."""
    with open_runner("ray", 2) as runner:
        assert of(FLEET, runner).manifest.encode() == found.manifest.encode()


def changed(**values: np.ndarray) -> TrainingSet:
    """Some sites, with the values of these assets replaced."""
    some = dict(list(FLEET.series.items())[:12])
    for key, one in values.items():
        old = some[f"{key.replace('_', '-')}/pump-1"]
        some[f"{key.replace('_', '-')}/pump-1"] = Series(old.t[: len(one)], one, old.stretch[: len(one)])
    return TrainingSet(ASSET_CLASS, FLEET.channels, some, FLEET.source)


def test_an_asset_that_cannot_be_measured_has_the_class_s_and_is_named(pool: Runner) -> None:
    """Too short, beyond all bounds, a channel that is missing: the others are measured all the same."""
    values = FLEET.series["site-0/pump-1"].values
    gone, wild = values.copy(), values.copy()
    gone[:, 2] = np.nan
    wild[220:] *= 1e60
    found = of(changed(site_0=values[:40], site_1=wild, site_10=gone), pool)
    assert found.left_out == {
        "site-0/pump-1": "2 windows, 10 are needed",
        "site-1/pump-1": "readings too large for the network",
        "site-10/pump-1": "0 windows, 10 are needed",
    }
    assert len(found.manifest.thresholds) == 1 + 9
    assert not set(found.left_out) & set(found.manifest.features.scaling)


def test_an_asset_that_was_not_healthy_is_pointed_out(found: Sites, pool: Runner) -> None:
    """One whose held-out readings went wild gets a threshold that hears nothing: that is said before it ships."""
    values = FLEET.series["site-2/pump-1"].values.copy()
    values[220:] += 40 * values.std(axis=0)
    sick = of(changed(site_2=values), pool)
    assert sick.unlike == ["site-2/pump-1"]
    well = of(changed(), pool).manifest.thresholds
    assert {k for k, v in sick.manifest.thresholds.items() if v > 1.1 * well[k]} == {"site-2/pump-1"}
    assert found.unlike == []


@pytest.mark.parametrize(
    ("changes", "model", "why"),
    [
        ({}, MADE.model + b" ", "not the one of the manifest"),
        ({"asset_class": "fan"}, MADE.model, "class fan for a network of pump"),
        ({"channels": tuple(f"{c}-x" for c in CHANNELS)}, MADE.model, "no asset has the channel"),
        ({"series": {}}, MADE.model, "enough healthy readings"),
    ],
    ids=["network", "class", "channels", "readings"],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], model: bytes, why: str, pool: Runner) -> None:
    """Another network, another class, no channel of the network, no asset with enough."""
    with pytest.raises((BadInput, GateFailed), match=why):
        calibrate(BASE, model, replace(FLEET, **changes), RECIPE, pool)


def recorded(folder: Path, learn: TrainingSet) -> None:
    """As CSV files, a folder for each site."""
    for key, one in learn.series.items():
        site, asset = key.split("/")
        (folder / site).mkdir(parents=True)
        times = np.datetime_as_string(one.t.astype("datetime64[ms]").astype("datetime64[s]"))
        lines = [
            f"{t.replace('T', ' ')};{';'.join(map(repr, row))}"
            for t, row in zip(times, one.values.tolist(), strict=True)
        ]
        (folder / site / f"{asset}.csv").write_text("\n".join([f"datetime;{';'.join(learn.channels)}", *lines, ""]))


def test_a_command_measures_the_recordings_of_many_sites(
    tmp_path: Path, pool: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a network in a folder and a folder of sites to both files of a version; the same thresholds as above."""
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path / "plants", changed())
    write(MADE, "pump-1", 4, tmp_path / "network")
    arguments = ["sites", "--class", "pump", "--model", "network", "--folder", "plants"]
    done = CliRunner().invoke(app, [*arguments, "--out", "found", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["version"], told["assets"], told["left_out"]) == (5, 12, {})
    made = decode_manifest((tmp_path / "found" / "manifest.json").read_bytes())
    assert (tmp_path / "found" / "model.tflite").read_bytes() == MADE.model
    assert made.thresholds == of(changed(), pool).manifest.thresholds
    said = CliRunner().invoke(app, [*arguments, "--out", "again"]).stdout
    assert "publish it: headwater train publish again" in said
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, BadInput)
    assert "--out" in refused.exception.hint
