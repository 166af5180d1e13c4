"""Certificates of models whose alarms follow the machine: what the edge would do with them is replayed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from cloud_trainer import local
from cloud_trainer.certificates import replay
from cloud_trainer.certificates.certifying import certify, flips_of
from cloud_trainer.certificates.replay import Part, Replay
from cloud_trainer.cli import app
from cloud_trainer.making import Made, certified, make, replay_of
from cloud_trainer.recipe import Recipe
from headwater.contract.alarm import AlarmRule
from headwater.contract.episodes import EpisodeRule
from headwater.contract.errors import GateFailed
from headwater.contract.following import EpisodeSpec, Following, Healthy
from headwater.contract.manifest import MANIFEST_FILE, decode_manifest
from headwater.transport import tflite
from tests.cloud_trainer.certificates import traps
from tests.cloud_trainer.certificates.environments import HERE
from tests.cloud_trainer.pool.windows import WINDOW, training_set

KEY = "lyon/rig-1"
RULE = AlarmRule(open_after=2)
SPEC = EpisodeSpec(EpisodeRule(margin=1.5, onset=2, follow=0.1, settle=0), {"": Healthy((0.0,), (1.0,))}, 2.0, 7.0)


@pytest.fixture(scope="module")
def made() -> Made:
    """A trained model with a budget of alarms, cheap to replay twice."""
    return make(training_set(4_000), Recipe(window=WINDOW, step=4, alarms_a_week=50))


def along(scores: list[float]) -> Replay:
    """A machine that stays where it was calibrated, and the scores of training."""
    rows, count = np.zeros((len(scores), 2), np.float32), len(scores)
    part = Part(KEY, rows, 2.0, np.zeros((count, 1)))
    return Replay((part,), np.array(scores, np.float64), np.zeros((count, 1)))


def test_the_network_is_asked_what_the_edge_would_ask(made: Made) -> None:
    """Window by window, less what the baseline has moved by then; so the baselines have moved in it."""
    assert made.episodes is not None
    found = replay_of(made)
    (first, *_) = (part for part in found.parts if part.key == "lyon/rig-0")
    windows = made.trained.windows["lyon/rig-0"]
    following = Following(made.trained.spec, made.episodes.spec, "lyon/rig-0")
    for values, row in zip(windows, first.rows, strict=True):
        asked = following.input(values)
        assert row == pytest.approx(asked, rel=1e-5, abs=1e-5)
        following.push(values, float(made.trained.detector.levels(asked[None])[0]), first.threshold)
    plain = made.trained.vectors["lyon/rig-0"]
    assert np.abs(first.rows - plain).max() > 1e-3
    assert np.abs(np.array(following.baseline)).max() > 0


def test_a_flip_of_what_the_edge_does_is_seen() -> None:
    """Over the margin of episodes and under the fixed threshold: only the first of the two opens an alarm."""
    quiet, loud = [1.0] * 8, [1.0, 1.0, 1.6, 1.6, 1.0, 1.0, 1.0, 1.0]
    given = along(quiet)
    assert flips_of(given, np.array(loud, np.float32), RULE) == []
    said = flips_of(given, np.array(loud, np.float32), RULE, SPEC)
    assert said[0] == f"window 3 of {KEY}, followed"
    assert not flips_of(given, np.array(quiet, np.float32), RULE, SPEC)


def test_a_baseline_that_differs_is_a_flip() -> None:
    """One window over the margin opens nothing, but the edge would not follow it."""
    part = along([1.0] * 6).parts[0]
    moving = dataclasses.replace(part, means=np.full((6, 1), 0.5))
    given = dataclasses.replace(along([1.0] * 6), parts=(moving,))
    once = np.array([1.0, 1.0, 1.6, 1.0, 1.0, 1.0], np.float32)
    assert flips_of(given, once, RULE, SPEC)[0] == f"window 2 of {KEY}, followed"


@pytest.mark.parametrize("episodes", [None, SPEC])
def test_a_score_that_lies_on_the_threshold(episodes: EpisodeSpec | None) -> None:
    """The same bits on both sides are no flip; the next number below, or above, is one, and is named."""
    edge = 2.0 if episodes is None else 1.5  # a score at the threshold is over it, one at the margin is not
    given = along([1.0, 1.0, edge, edge, 1.0, 1.0])
    same = given.scores.astype(np.float32)
    assert flips_of(given, same, RULE, episodes) == []
    other = same.copy()
    other[2:4] = np.nextafter(np.float32(edge), np.float32(0.0 if episodes is None else 9.0))
    assert flips_of(given, other, RULE, episodes)[0].startswith(f"window 3 of {KEY}")


def test_a_followed_model_is_certified_now_and_later(made: Made, tmp_path: Path) -> None:
    """The file beside the model holds the machines; one of before there were any proves nothing of such a model."""
    again = certified(made, (HERE,))
    assert again.certificates[0].flips == 0
    local.write(again, "rig-1", 1, tmp_path)
    loaded = replay.load(tmp_path / replay.FILE)
    assert loaded.digest() == replay_of(made).digest() == again.certificates[0].data_sha256
    asked = ["certify", str(tmp_path), "--runtime", str(HERE), "--json"]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0
    assert decode_manifest((tmp_path / MANIFEST_FILE).read_bytes()).episodes is not msgspec.UNSET
    older = dataclasses.replace(loaded, parts=tuple(dataclasses.replace(part, means=None) for part in loaded.parts))
    replay.save(older, tmp_path / replay.FILE)
    refused = CliRunner().invoke(app, asked)
    assert isinstance(refused.exception, GateFailed)
    assert "train the model again" in refused.exception.hint


def test_a_flip_of_episodes_alone_gets_no_certificate() -> None:
    """The margin lies between what training and the runtime said, the fixed threshold far above: refused, and where."""
    rows = np.repeat(np.random.default_rng(2).normal(size=(1, traps.WIDTH)), 40, axis=0).astype(np.float32)
    wanted = traps.wanted(rows)
    score = float(tflite.Model(traps.dense()).score(rows[:1])[0][0])
    if score == wanted[0]:
        pytest.skip("this runtime gives the very same score")
    parts = (rows.astype(np.float64) @ traps.WEIGHTS.T) ** 2
    found = Replay((Part(KEY, rows, 1.5 * score, np.zeros((40, 1))),), wanted, parts)
    margin = 2 * (score + wanted[0]) / 2 / score
    spec = msgspec.structs.replace(SPEC, threshold_factor=3.0, rule=EpisodeRule(margin=margin, onset=1))
    assert certify(traps.dense(), found, RULE, (HERE,))
    with pytest.raises(GateFailed, match=rf"the first in window 0 of {KEY}, followed"):
        certify(traps.dense(), found, RULE, (HERE,), spec)
