"""A budget of false alarms becomes a model that follows its machines, at the edge as in the cloud."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud_trainer.calibration.spec import healthy_of, rows_of
from cloud_trainer.datasets.building import from_folder
from cloud_trainer.judging.verdicts import Judge as CloudJudge
from cloud_trainer.making import Made, make, make_manifest
from cloud_trainer.recipe import Recipe
from cloud_trainer.running.runner import open_runner
from cloud_trainer.running.sites import calibrate
from cloud_trainer.series import Floats, TrainingSet, cut
from cloud_trainer.tracing.lineage import score_again
from edge_agent.scorer.judge import Judge as EdgeJudge
from edge_agent.scorer.models import Id, Loaded
from edge_agent.scorer.partition import Partition
from headwater.contract import headers, reading
from headwater.contract.canonical import sha256
from headwater.contract.errors import GateFailed
from headwater.contract.manifest import Manifest, decode_manifest
from headwater.contract.windows import Cadence, Charge
from headwater.transport.kafka_batch import Record
from headwater.transport.tflite import Model
from tests.cloud_trainer.rigs import write_rigs

ROWS = 2_400
RECIPE = Recipe(window=10, step=5, alarms_a_week=50)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A model from the healthy half of four rigs."""
    folder = write_rigs(tmp_path_factory.mktemp("healthy"), rigs=4, rows=ROWS)
    return make(from_folder(folder, "rig", "lab", ROWS // 2), RECIPE)


@pytest.fixture(scope="module")
def manifest(made: Made) -> Manifest:
    """Its manifest, through its bytes."""
    return decode_manifest(make_manifest("test", 1, made).encode())


def test_the_manifest_says_limits_by_machine_and_what_the_margin_stands_on(manifest: Manifest) -> None:
    """Rule, limits of each rig and of the class; fixed thresholds stay, for agents that know nothing of episodes."""
    assert manifest.episodes is not msgspec.UNSET
    assert set(manifest.episodes.healthy) == {"", *(f"lab/rig-{n}" for n in range(4))}
    assert manifest.episodes.rule.margin == manifest.metrics["margin"]["margin"]
    assert manifest.metrics["margin"]["spans"] > 20
    assert manifest.thresholds[""] > 0


def test_without_a_budget_nothing_changes(tmp_path: Path) -> None:
    """The manifest of a model with fixed thresholds has no word of episodes."""
    folder = write_rigs(tmp_path, rigs=2, rows=800)
    one = make(from_folder(folder, "rig", "lab", None), Recipe(window=10, step=5))
    assert b"episodes" not in make_manifest("test", 1, one).encode()


def test_edge_and_cloud_say_the_same_of_a_fault(made: Made, manifest: Manifest, tmp_path: Path) -> None:
    """Scores to the bit, and the rows at which episodes open: a rig drifts, then breaks; the fault is found."""
    folder = write_rigs(tmp_path, rigs=1, rows=ROWS, fault=8, drift=0.5)
    learn = from_folder(folder, "rig", "lab", None)
    series = learn.series["lab/rig-0"]
    cloud = CloudJudge(manifest, made.model).of("lab/rig-0", series, learn.channels)

    edge, partition = _edge(made, manifest)
    records = [
        Record(n, 0, b"rig-0", reading.encode(int(t), dict(zip(learn.channels, row, strict=True))), _CLASS)
        for n, (t, row) in enumerate(zip(series.t, series.values.tolist(), strict=True))
    ]
    found = [edge.judge(partition, records[at : at + 37], 0) for at in range(0, len(records), 37)]
    scores = [each.score.score for one in found for each in one.scores]
    opens = [each.offset for one in found for each in one.alarms if each.alarm.state == "opened"]

    assert np.array_equal(np.array(scores, dtype=float), cloud.scores)
    assert opens == np.flatnonzero(cloud.opens).tolist()
    assert any(ROWS * 0.75 <= row < ROWS * 0.75 + 100 for row in opens)
    assert not any(row < ROWS * 0.75 for row in opens)


def test_a_score_can_be_said_again_from_what_it_names(made: Made, manifest: Manifest, tmp_path: Path) -> None:
    """The baseline in the score and the readings of its window give the same bits, in an episode and outside."""
    folder = write_rigs(tmp_path, rigs=1, rows=ROWS, fault=8)
    learn = from_folder(folder, "rig", "lab", None)
    series = learn.series["lab/rig-0"]
    edge, partition = _edge(made, manifest)
    records = [
        Record(n, 0, b"rig-0", reading.encode(int(t), dict(zip(learn.channels, row, strict=True))), _CLASS)
        for n, (t, row) in enumerate(zip(series.t, series.values.tolist(), strict=True))
    ]
    found = edge.judge(partition, records, 0).scores
    model = Model(made.model)
    again = [score_again(model, manifest, "lab/rig-0", each.window, each.score) for each in found]
    assert again == [each.score.score for each in found]
    assert len({each.score.baseline for each in found}) > 10


def test_it_is_said_since_when_the_promise_is_void(made: Made, manifest: Manifest, tmp_path: Path) -> None:
    """A rig that drifts away slowly enough to be followed alarms nobody; its scores say since which offset."""
    folder = write_rigs(tmp_path, rigs=1, rows=6_000, drift=6)
    learn = from_folder(folder, "rig", "lab", None)
    series = learn.series["lab/rig-0"]
    edge, partition = _edge(made, manifest)
    records = [
        Record(n, 0, b"rig-0", reading.encode(int(t), dict(zip(learn.channels, row, strict=True))), _CLASS)
        for n, (t, row) in enumerate(zip(series.t, series.values.tolist(), strict=True))
    ]
    found = edge.judge(partition, records, 0)
    since = {each.score.void_since for each in found.scores if each.score.void_since is not msgspec.UNSET}
    assert since
    assert min(since) > 100
    assert found.scores[0].score.void_since is msgspec.UNSET


def test_other_sites_on_the_same_network_get_limits_of_their_own(
    made: Made, manifest: Manifest, tmp_path: Path
) -> None:
    """In the units of their own scaling, and thresholds by the factor that the class was made with."""
    learn = from_folder(write_rigs(tmp_path, rigs=2, rows=ROWS // 2, seed=9), "rig", "oslo", None)
    recipe = RECIPE.model_copy(update={"margin": 7.0})
    with open_runner("pool", 1, "") as runner:
        found = calibrate(manifest, made.model, learn, recipe, runner).manifest
    found.check()
    assert found.episodes is not msgspec.UNSET
    assert manifest.episodes is not msgspec.UNSET
    assert set(found.episodes.healthy) == {"", "oslo/rig-0", "oslo/rig-1"}
    assert found.episodes.rule == manifest.episodes.rule
    assert found.thresholds["oslo/rig-0"] < 2 * manifest.thresholds["lab/rig-0"]
    rows = rows_of(found.features.scaling_of("oslo/rig-0"), _windows(learn, "oslo/rig-0", found.features.channels))
    assert found.episodes.healthy["oslo/rig-0"] == healthy_of(rows)


def _windows(learn: TrainingSet, key: str, channels: tuple[str, ...]) -> Floats:
    return cut(learn.series[key], learn.channels, channels, RECIPE).values


def test_too_few_windows_for_limits_are_a_gate(tmp_path: Path) -> None:
    """GateFailed says how many windows are needed."""
    folder = write_rigs(tmp_path, rigs=2, rows=300)
    with pytest.raises(GateFailed, match="40 healthy windows"):
        make(from_folder(folder, "rig", "lab", None), Recipe(window=10, step=10, alarms_a_week=7))


_CLASS = ((headers.CLASS, b"rig"),)


def _edge(made: Made, manifest: Manifest) -> tuple[EdgeJudge, Partition]:
    """The scorer's judge with this model in charge of one partition."""
    digest = sha256(manifest.encode())
    cadence, name = Cadence.of(manifest.features), Id("rig", 1, manifest.sha256, digest)
    partition = Partition(0)
    partition.windows.swap("rig", cadence, [])
    partition.charges["rig"] = Charge("rig", 1, manifest.sha256, 0, 0, cadence, 0, 0, "disk", digest)
    return EdgeJudge("lab", {name: Loaded(name, manifest, Model(made.model), cadence)}), partition
