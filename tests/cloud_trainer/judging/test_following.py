"""A model that follows its machines is judged where it would stand at the edge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cloud_trainer.datasets.building import from_folder
from cloud_trainer.judging import gate, material
from cloud_trainer.judging.compare import compare
from cloud_trainer.judging.verdicts import Judge
from cloud_trainer.making import make, make_manifest
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import TrainingSet
from cloud_trainer.tracing.models import Model
from headwater.contract.manifest import decode_manifest
from tests.cloud_trainer.rigs import write_rigs

ROWS, BEHIND = 18_000, 12_000
KEY = "lab/rig-0"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of four healthy rigs that follows its machines."""
    folder = write_rigs(tmp_path_factory.mktemp("healthy"), rigs=4, rows=1_200)
    made = make(from_folder(folder, "rig", "lab", None), Recipe(window=10, step=5, alarms_a_week=50))
    data = make_manifest("test", 1, made).encode()
    return Model(decode_manifest(data), made.model, data, "made just now")


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """Two rigs that drift away by six deviations, so slowly that they are followed."""
    return from_folder(write_rigs(tmp_path_factory.mktemp("drift"), rigs=2, rows=ROWS, drift=6), "rig", "lab", None)


def test_what_was_before_the_range_is_run_through(model: Model, drifted: TrainingSet) -> None:
    """Behind rows that it has followed a model says what it says at the edge; nothing of it is left out."""
    judge, whole = Judge(model.manifest, model.data), drifted.series[KEY]
    at_edge = judge.of(KEY, whole, drifted.channels)
    assert at_edge.cold == 0
    given = material.behind(material.with_truth(drifted, {}), BEHIND)
    found = judge.of(KEY, given.learn.series[KEY], drifted.channels, given.before[KEY])
    assert len(found.level) == ROWS - BEHIND
    assert np.array_equal(found.level, at_edge.level[BEHIND:])
    assert np.array_equal(found.alarm, at_edge.alarm[BEHIND:])
    assert found.cold == 0
    assert np.array_equal(found.last_row, at_edge.last_row[at_edge.last_row >= BEHIND] - BEHIND)


def test_a_machine_that_begins_outside_its_limits_is_not_judged_at_first(model: Model, drifted: TrainingSet) -> None:
    """Without readings before, the alarm that the edge would not have is left out, and the decision says so."""
    given = replace(material.behind(material.with_truth(drifted, {}), BEHIND), before={})
    judge = Judge(model.manifest, model.data)
    verdicts = judge.of(KEY, given.learn.series[KEY], drifted.channels)
    at_edge = judge.of(KEY, drifted.series[KEY], drifted.channels).alarm[BEHIND:].mean()
    rule = model.manifest.episodes.rule  # type: ignore[union-attr]  # it has episodes: it was made with a budget
    assert verdicts.cold == min(len(verdicts.scores), rule.longest + rule.onset)
    assert verdicts.alarm.mean() > 0.3
    assert verdicts.alarm[verdicts.known].mean() < at_edge + 0.02 < 0.1
    decision = compare(model, model, given).decision
    assert [note.split(":")[0] for note in decision.notes] == [
        "2 of 2 assets begin outside the limits of the champion",
        "2 of 2 assets begin outside the limits of the challenger",
    ]


def test_the_service_runs_through_what_it_does_not_judge(drifted: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest readings are judged, and as many before them say where the machine has been followed to."""
    monkeypatch.setattr(gate, "_MOST_READINGS", 2 * 4_000)
    given = gate._newest(drifted)  # what is judged shows in no figure
    assert [len(given.learn.series[KEY]), len(given.before[KEY])] == [4_000, 4_000]
    joined = np.concatenate([given.before[KEY].t, given.learn.series[KEY].t])
    assert np.array_equal(joined, drifted.series[KEY].t[-8_000:])
