"""From recordings to the files of a model: the same bytes twice, causal, certified, with intervals that hold."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud_trainer.certificates.certifying import certify, check_certified
from cloud_trainer.certificates.replay import LEAST, load, save
from cloud_trainer.datasets import building
from cloud_trainer.life import making, requests
from cloud_trainer.life.histories import History, left_of, vectors
from cloud_trainer.life.lives import lives as read_lives
from cloud_trainer.life.making import LifeMade
from cloud_trainer.life.recipe import LifeRecipe
from cloud_trainer.recipe import Recipe
from headwater.contract.errors import GateFailed
from headwater.contract.manifest import decode_manifest
from headwater.contract.reading import Reading
from headwater.contract.windows import Cadence
from headwater.transport import tflite
from headwater.transport.recordings import recordings
from tests.cloud_trainer.certificates.environments import HERE, old_runtime
from tests.cloud_trainer.life.engines import fleet, write_lives

LIFE = LifeRecipe(
    settings=("height", "kind"), most=80, warn=15, early=1.25, epochs=60, layers=(16, 8), latents=(2,), budget_s=20
)


def make(folder: Path, life: LifeRecipe = LIFE) -> LifeMade:
    """A certified model of the recordings in a folder."""
    return requests.make_from(building.from_recordings(folder, "engine", "lab"), Recipe(), life, ())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> LifeMade:
    return make(write_lives(tmp_path_factory.mktemp("lives"), fleet(30, 1)))


def test_the_same_lives_give_the_same_bytes(made: LifeMade, tmp_path: Path) -> None:
    """Twice: the .tflite, the predictions, and all of the manifest but the time at which it was made."""
    again = make(write_lives(tmp_path, fleet(30, 1)))
    assert again.data == made.data
    assert len(made.data) <= 24 * 1024
    assert making.predictions(again) == making.predictions(made)
    one, other = (making.make_manifest("engine-1", 1, each) for each in (made, again))
    assert msgspec.structs.replace(other, created_at=one.created_at).encode() == one.encode()


def test_the_manifest_has_what_an_edge_must_know(made: LifeMade) -> None:
    """Features with memory, promise, threshold, golden vectors that this runtime agrees with."""
    manifest = decode_manifest(making.make_manifest("engine-1", 3, made).encode())
    assert manifest.life == made.life
    assert manifest.features.memory == made.model.spec
    assert manifest.features.channels == ("height", "kind", "fast", "hot", "rough")
    assert manifest.thresholds == {"": 65.0}
    assert manifest.algorithm in ("life-ridge", "life-network")
    assert LifeRecipe.model_validate(manifest.metrics["recipe"]) == LIFE
    assert manifest.metrics["channels_left_out"] == ["still"]
    wanted = np.array(manifest.golden.scores)
    says = tflite.Model(made.data).score(np.array(manifest.golden.inputs, np.float32))[0]
    assert len(wanted) >= 20
    assert ((wanted == 0) | (wanted >= 8)).all(), "one near zero would say little in float32"
    assert (np.abs(says - wanted) <= manifest.golden.tolerance * wanted).all()


def test_what_comes_later_changes_nothing(made: LifeMade) -> None:
    """Strictly causal in the runtime too: with all behind cycle 30 replaced the first 30 scores keep every bit."""
    rng, lives, network = np.random.default_rng(5), fleet(6, 9), tflite.Model(made.data)
    other = [
        History(
            np.concatenate([each.settings[:30], rng.permutation(each.settings[30:])]),
            np.concatenate([each.sensors[:30], rng.normal(size=each.sensors[30:].shape) * 1e3]),
        )
        for each in lives.histories
    ]
    before, behind = (
        [network.score(rows)[0] for rows in vectors(made.model.spec, given)]
        for given in (lives, lives._replace(histories=other))
    )
    for one, two in zip(before, behind, strict=True):
        assert one[:30].tobytes() == two[:30].tobytes()
    assert any((one[30:] != two[30:]).any() for one, two in zip(before, behind, strict=True))


def test_the_edge_sees_the_vectors_of_training(made: LifeMade, tmp_path: Path) -> None:
    """Bit by bit, with a sensor that is missing at times and cycles that lack a setting, which are none for both."""
    lives = fleet(3, 12)
    rng = np.random.default_rng(3)
    for each in lives.histories:
        each.sensors[rng.random(each.sensors.shape) < 0.1] = np.nan
        each.settings[rng.random(len(each.settings)) < 0.05, 0] = np.nan
    folder = write_lives(tmp_path, lives)
    for path in folder.glob("*.csv"):
        path.write_text(path.read_text().replace("nan", ""))
    found = building.from_recordings(folder, "engine", "lab")
    given = read_lives(found, ("height", "kind"), is_lifelong=True, present=0.5)
    trained = dict(zip(given.names, vectors(made.model.spec, given.fleet), strict=True))
    for recording in recordings(folder):
        windower, rows = Cadence.of(made.features).windower(), []
        for offset, row in enumerate(recording.rows):
            window = windower.push(offset, Reading(row.t, row.values))
            if window is not None:
                rows.append(made.features.vector("lab/x", window.values))
        assert np.array(rows).tobytes() == trained[f"lab/{recording.asset}"].tobytes()
        assert len(rows) < len(recording.rows)


def test_intervals_hold_their_share_of_lives_that_are_new(made: LifeMade) -> None:
    """90 % are promised; of 60 engines that nobody trained on, and in the figures on those left out, about as many."""
    unseen, network = fleet(60, 8), tflite.Model(made.data)
    held = []
    for rows, history in zip(vectors(made.model.spec, unseen), unseen.histories, strict=True):
        truth = np.minimum(left_of(history), 80)
        low, high = made.life.of(made.life.remaining(network.score(rows)[0].astype(np.float64)))
        held.append(((low <= truth) & (truth <= high)).mean())
    assert 0.85 < np.mean(held) < 0.97
    assert 0.86 < making.figures(made)["coverage"] < 0.97
    assert made.life.promised == pytest.approx(0.9)


@pytest.mark.parametrize("is_lifelong", [True, False])
def test_intervals_of_brief_lives_hold_as_well(tmp_path: Path, is_lifelong: bool) -> None:
    """Lives of 12 to 23 cycles: what is said of them is of whole lives, and not of their ends alone."""
    brief = LIFE.model_copy(update={"most": 16, "warn": 4, "budget_s": 0, "is_lifelong": is_lifelong})
    found = make(write_lives(tmp_path, fleet(30, 1, shortest=12, longest=24)), brief)
    unseen, network = fleet(60, 8, shortest=12, longest=24), tflite.Model(found.data)
    held, off = [], []
    for rows, history in zip(vectors(found.model.spec, unseen), unseen.histories, strict=True):
        truth = np.minimum(left_of(history), 16)
        says = found.life.remaining(network.score(rows)[0].astype(np.float64))
        low, high = found.life.of(says)
        held += [(low <= truth) & (truth <= high)]
        off += [(says - truth) ** 2]
    assert np.concatenate(held).mean() > 0.85
    said = making.figures(found)
    assert said["rmse"] == pytest.approx(np.sqrt(np.concatenate(off).mean()), rel=0.25)
    assert said["coverage"] == pytest.approx(np.concatenate(held).mean(), abs=0.08)


def test_lives_that_cannot_be_replayed_end_in_a_sentence(made: LifeMade, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each score is as near to the alarm as runtimes differ: nothing can be compared, and nobody tries for ever."""
    monkeypatch.setattr(making, "_ON", 10.0)
    with pytest.raises(GateFailed, match="no score on the level of the alarm") as raised:
        making.replay_of(made)
    assert "most" in raised.value.hint
    with pytest.raises(ValueError, match="less than or equal to 100000"):
        LifeRecipe(most=1e7)


def test_what_is_taken_for_missing_is_in_the_manifest(made: LifeMade) -> None:
    """As many values of each channel as `lives` says; nothing where there are none."""
    assert "values_taken_for_missing" not in making.make_manifest("engine-1", 1, made).metrics
    other = made._replace(lives=made.lives._replace(wild={"hot": 3}))
    assert making.make_manifest("engine-1", 1, other).metrics["values_taken_for_missing"] == {"hot": 3}


def test_predictions_are_of_lives_left_out(made: LifeMade) -> None:
    """A row for each cycle that was asked, with its life, and what was left; the figures are those of the file."""
    rows = list(csv.DictReader(io.StringIO(making.predictions(made).decode())))
    assert list(rows[0]) == ["unit", "cycle", "rul", "low", "high", "true"]
    assert {row["unit"] for row in rows} == set(made.lives.names)
    says, truth = (np.array([float(row[name]) for row in rows]) for name in ("rul", "true"))
    assert np.sqrt(np.mean((says - truth) ** 2)) == pytest.approx(making.figures(made)["rmse"], abs=0.01)
    lengths = {n: len(h.sensors) for n, h in zip(made.lives.names, made.lives.fleet.histories, strict=True)}
    for row in rows:
        assert float(row["true"]) == min(80, lengths[row["unit"]] - int(row["cycle"]))
    own = made.model.network.predict(np.concatenate(vectors(made.model.spec, made.lives.fleet)))
    assert len(own) > len(says)


def test_each_runtime_of_the_fleet_is_certified(made: LifeMade, tmp_path: Path) -> None:
    """Both agree with training to 1e-5 of `most` over 10,000 cycles and more; kept in a file, and asked again."""
    again = making.certified(made, (HERE, old_runtime()))
    manifest = making.make_manifest("engine-1", 1, again)
    assert [each.runtime.partition("/")[0] for each in again.certificates] == ["litert", "tflite-runtime"]
    for each in again.certificates:
        assert each.windows >= LEAST
        assert each.worst <= 1e-5
        assert each.flips == 0
    check_certified(manifest, (HERE, old_runtime()))
    save(making.replay_of(made), tmp_path / "replay.npz")
    assert certify(made.data, load(tmp_path / "replay.npz"), manifest.alarm, ())[0] == made.certificates[0]


def test_lives_with_a_score_on_the_threshold_are_not_replayed(made: LifeMade) -> None:
    """Either side is right there, so that an alarm that opens in one runtime alone would say nothing of it."""
    name, rows = made.lives.names[0], vectors(made.model.spec, made.lives.fleet)[0]
    assert name in [part.key for part in making.replay_of(made).parts]
    score = float(made.life.most - made.model.network.predict(rows)[-1])
    moved = made._replace(life=msgspec.structs.replace(made.life, warn=made.life.most - score))
    assert name not in [part.key for part in making.replay_of(moved).parts]


def test_another_network_gets_no_certificate(made: LifeMade, tmp_path: Path) -> None:
    """What a runtime computes is held against the network that was trained."""
    other = make(write_lives(tmp_path, fleet(30, 4)))
    with pytest.raises(GateFailed, match="away from training"):
        making.certified(made._replace(data=other.data), ())
    with pytest.raises(GateFailed, match="is not certified for litert"):
        check_certified(making.make_manifest("engine-1", 1, made._replace(certificates=())), ())


def test_for_the_window_alone_the_age_is_not_asked(made: LifeMade, tmp_path: Path) -> None:
    """Without overhauls the features are of the last 30 cycles, and it is off by more."""
    window = make(write_lives(tmp_path, fleet(30, 1)), LIFE.model_copy(update={"is_lifelong": False}))
    assert "age" not in window.features.names
    assert making.figures(window)["rmse"] > making.figures(made)["rmse"]
