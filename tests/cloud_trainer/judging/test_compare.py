"""A better model is promoted, a worse one kept out, and chance decides nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from cloud_trainer.datasets.checks import Finding
from cloud_trainer.judging import counts, material
from cloud_trainer.judging.compare import compare
from cloud_trainer.judging.decision import JUDGE_FILE, decode_decision
from cloud_trainer.judging.material import FAULT, NORMAL, Material
from cloud_trainer.judging.seen import trained_on
from cloud_trainer.judging.verdicts import Verdicts
from cloud_trainer.recipe import Recipe
from cloud_trainer.tracing import models
from cloud_trainer.tracing.models import Model
from headwater.app.cli import app
from headwater.contract.errors import BadInput, GateFailed
from headwater.contract.manifest import Dataset
from tests.cloud_trainer.datasets import recorded
from tests.cloud_trainer.rigs import FAULT as FAULT_SHARE
from tests.cloud_trainer.rigs import START, train_rigs, write_rigs

RIGS = 5
TRAINED = 600
ROWS = 3000


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five rigs, whose last quarter is a fault."""
    return write_rigs(tmp_path_factory.mktemp("rigs"), rigs=RIGS, rows=ROWS, fault=6.0, labels=True)


@pytest.fixture(scope="module")
def trained(rigs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model, one with other windows, and one that is deaf, in folders."""
    root = tmp_path_factory.mktemp("models")
    for name, recipe in {
        "good": Recipe(),
        "other-windows": Recipe(window=30, step=10, block=6),
        "deaf": Recipe(margin=50.0),
    }.items():
        train_rigs(rigs, root / name, rows=TRAINED, recipe=recipe)
    return {name.name: name for name in root.iterdir()}


@pytest.fixture(scope="module")
def held_out(rigs: Path) -> Material:
    """What no model has seen."""
    return material.behind(material.from_recordings(rigs, "rig", "lab"), TRAINED)


def loaded(trained: dict[str, Path], name: str) -> Model:
    return models.from_folder(trained[name])


def test_a_deaf_challenger_is_kept_out_and_a_hearing_one_promoted(trained: dict[str, Path], held_out: Material) -> None:
    """The intervals of the difference decide, in either direction, with models of the same windows or of others."""
    good, deaf = loaded(trained, "good"), loaded(trained, "deaf")
    kept = compare(good, deaf, held_out).decision
    assert kept.verdict == "keep", kept.reasons
    promoted = compare(deaf, good, held_out).decision
    assert promoted.verdict == "promote", promoted.reasons
    difference = promoted.figures["f1"].difference_interval
    assert difference is not None
    assert difference[0] > 0.5
    assert promoted.champion.sha256 == deaf.manifest.sha256  # the same network, another threshold
    assert promoted.champion.manifest_sha256 != promoted.challenger.manifest_sha256
    assert compare(deaf, loaded(trained, "other-windows"), held_out).decision.verdict == "promote"
    assert {part.name for part in promoted.assets} == {f"lab/rig-{n}" for n in range(RIGS)}
    assert "load high" in {part.name for part in promoted.slices}


def test_nothing_is_promoted_on_data_with_errors(trained: dict[str, Path], held_out: Material, tmp_path: Path) -> None:
    """In a channel that one of both takes, or in its times; a warning is noted, and what neither takes is no matter."""
    deaf, good = loaded(trained, "deaf"), loaded(trained, "good")
    clock, flat = (
        Finding("error", "clock", "load", "it tells the row number"),
        Finding("warning", "flat", "load", "still"),
    )
    spoilt = compare(deaf, good, replace(held_out, findings=(clock, flat))).decision
    assert spoilt.verdict == "undecided"
    assert spoilt.reasons[1:] == ["clock:load (it tells the row number)"]
    assert spoilt.notes == ["flat:load: still"]
    other = Finding("error", "clock", "hours", "it tells the row number")
    assert compare(deaf, good, replace(held_out, findings=(other,))).decision.verdict == "promote"
    lines = recorded.rows(200, 1)
    for line in lines[50:150]:
        line[0] = lines[50][0]
    recorded.write(tmp_path / "rig-1.csv", lines)
    (found,) = material.from_recordings(tmp_path, "rig", "lab").findings
    assert (found.level, found.name) == ("error", "time-repeated:lab/rig-1")


def test_a_model_does_not_win_against_itself(trained: dict[str, Path], held_out: Material) -> None:
    """The difference is nothing, and that is certain."""
    good = loaded(trained, "good")
    same = compare(good, good, held_out).decision
    assert same.verdict == "undecided"
    assert same.figures["f1"].difference_interval == (0.0, 0.0)


def test_a_decision_can_be_made_again(trained: dict[str, Path], held_out: Material) -> None:
    """To the byte but for its time: nothing is drawn."""
    good, other = loaded(trained, "good"), loaded(trained, "other-windows")
    once, again = (compare(good, other, held_out).decision for _ in range(2))
    assert msgspec.structs.replace(again, decided_at=once.decided_at).encode() == once.encode()
    assert once.dataset.sha256 == held_out.learn.source.sha256
    assert once.units == "assets"
    assert once.code


def test_few_assets_say_nothing_of_others(trained: dict[str, Path], held_out: Material) -> None:
    """What is better on four machines beyond chance is said of these four, and nothing is promoted."""
    some = {key: series for key, series in held_out.learn.series.items() if key != "lab/rig-0"}
    few = replace(held_out, learn=replace(held_out.learn, series=some))
    decision = compare(loaded(trained, "deaf"), loaded(trained, "good"), few).decision
    assert (decision.verdict, decision.units) == ("undecided", "blocks")
    assert "better beyond chance" in decision.reasons[0]
    assert decision.reasons[1:] == ["on these 4 assets only: fewer than 5 say nothing of others"]
    assert compare(loaded(trained, "good"), loaded(trained, "deaf"), few).decision.verdict == "keep"


def test_nothing_is_promoted_on_what_it_was_trained_on(trained: dict[str, Path], rigs: Path) -> None:
    """Ranges that overlap, or the same dataset: undecided, and the reason names them; a worse model is kept out."""
    deaf, good = loaded(trained, "deaf"), loaded(trained, "good")
    whole = material.from_recordings(rigs, "rig", "lab")
    decision = compare(deaf, good, whole).decision
    assert decision.verdict == "undecided"
    overlap = "was trained on a part of this range (rig-0.csv[0], 0 to 599): judge on another one"
    assert decision.reasons[1:] == [f"the champion {overlap}", f"the challenger {overlap}"]
    assert compare(good, deaf, whole).decision.verdict == "keep"
    assert compare(deaf, good, material.behind(whole, TRAINED - 1)).decision.verdict == "undecided"
    same = replace(whole, learn=replace(whole.learn, source=good.manifest.dataset))
    assert f"dataset {good.manifest.dataset.sha256[:12]}" in trained_on([("challenger", good)], same)[0]


@pytest.mark.parametrize(
    ("topic", "partition", "first", "is_seen"),
    [
        ("lyon.readings", "0", 99, True),
        ("lyon.readings", "0", 100, False),
        ("lyon.readings", "1", 0, False),
        ("nice.readings", "0", 0, False),
        ("lyon.alarms", "0", 0, False),  # all alarms are read each time
    ],
)
def test_ranges_of_topics_overlap_by_partition(
    trained: dict[str, Path], held_out: Material, topic: str, partition: str, first: int, is_seen: bool
) -> None:
    """Offsets [start, end) of the same partition of readings."""
    good = loaded(trained, "good")
    learned = Dataset({"lyon.readings": {"0": (0, 100)}, "lyon.alarms": {"0": (0, 100)}}, "a", 100)
    model = replace(good, manifest=msgspec.structs.replace(good.manifest, dataset=learned))
    source = Dataset({topic: {partition: (first, 200)}}, "b", 100)
    judged = replace(held_out, learn=replace(held_out.learn, source=source), skipped=0)
    assert bool(trained_on([("challenger", model)], judged)) == is_seen


def test_without_labels_silence_does_not_win(trained: dict[str, Path], rigs: Path, held_out: Material) -> None:
    """Where no fault is known a deaf model raises fewer alarms, and is not promoted; a louder one is kept out."""
    unlabelled = material.with_truth(held_out.learn, {})
    good, deaf = loaded(trained, "good"), loaded(trained, "deaf")
    assert compare(good, deaf, unlabelled).decision.verdict == "undecided"
    assert set(compare(good, deaf, unlabelled).decision.figures) == {"alarms_per_week"}


def test_two_classes_and_short_ranges_are_refused(trained: dict[str, Path], held_out: Material) -> None:
    """Models of two classes have nothing to be compared on, and a few windows decide nothing."""
    good = loaded(trained, "good")
    manifest = msgspec.structs.replace(good.manifest, asset_class="fan")
    with pytest.raises(BadInput, match="different classes"):
        compare(good, Model(manifest, good.data, b"", "x"), held_out)
    with pytest.raises(GateFailed, match="are needed"):
        compare(good, good, material.behind(held_out, ROWS - TRAINED - 60))


def test_readings_faults_and_episodes_are_counted() -> None:
    """Hits and misses by reading; an episode is right when a fault reaches into it; a fault is found by any alarm."""
    truth = np.array([NORMAL] * 4 + [FAULT] * 4 + [NORMAL] * 4 + [FAULT] * 2, np.int8)
    alarm = np.array([0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0], bool)
    opens = np.zeros(14, bool)
    opens[[1, 6, 8]] = True  # the third opens where the second closes
    level = np.where(alarm, 2.0, 0.5)
    verdicts = Verdicts(level, alarm, opens, np.zeros(0), np.zeros(0, np.int64))
    t = np.arange(14, dtype=np.int64) * 1000
    sums = counts.contributions(truth, t, verdicts, np.ones(14, bool)).sum(axis=0)
    assert sums.tolist() == [2, 4, 4, 4, 3, 1, 2, 1, 14, 13_000]


def test_time_under_watch_knows_slow_machines() -> None:
    """A reading every five minutes for a week is a week, where the model takes five minutes for no gap."""
    t = np.arange(2017, dtype=np.int64) * 300_000
    opens = np.arange(2017) == 10
    verdicts = Verdicts(np.ones(2017), opens, opens, np.ones(1), np.zeros(1, np.int64), watched_ms=600_000)
    sums = counts.contributions(np.full(2017, -1, np.int8), t, verdicts, np.ones(2017, bool)).sum(axis=0)
    assert counts.FIGURES["alarms_per_week"](sums) == 1


def test_the_command_writes_the_decision_beside_the_challenger(trained: dict[str, Path], rigs: Path) -> None:
    """`compare` prints the verdict with its intervals; judge.json is the record, whose name is its digest."""
    arguments = ["train", "compare", str(trained["deaf"]), str(trained["good"]), "--folder", str(rigs)]
    options = ["--behind", str(TRAINED), "--site", "lab"]
    done = CliRunner().invoke(app, [*arguments, *options, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    written = decode_decision((trained["good"] / JUDGE_FILE).read_bytes())
    assert (told["verdict"], told["sha256"]) == ("promote", written.digest())
    text = CliRunner().invoke(app, [*arguments, *options, "--dry-run"]).stdout
    assert "PROMOTE the challenger" in text
    assert "better beyond chance" in text
    assert not (trained["deaf"] / JUDGE_FILE).exists()


def test_a_frozen_dataset_gives_the_same_decision(trained: dict[str, Path], rigs: Path, tmp_path: Path) -> None:
    """With orders that say what the recordings say, it is judged alike; no cluster is asked."""
    environment = {
        "HEADWATER_TRAINER__OBJECTS__ENDPOINT": (tmp_path / "store").as_uri(),
        "HEADWATER_TRAINER__LABEL_LEAD_S": "0",
    }
    file, orders = tmp_path / "rig.dataset.json", tmp_path / "orders.csv"
    begin, end = (START + timedelta(seconds=s) for s in (ROWS * FAULT_SHARE, ROWS))
    rows = [f"lab,rig-{n},{begin.isoformat()},{end.isoformat()},bearing" for n in range(RIGS)]
    orders.write_text("\n".join(["site,asset,from,to,kind", *rows]))

    def call(*arguments: str) -> dict[str, object]:
        done = CliRunner().invoke(app, ["train", *arguments, "--json"], env=environment)
        assert done.exit_code == 0, (done.output, done.exception)
        found: dict[str, object] = json.loads(done.stdout)
        return found

    where = ["--folder", str(rigs)]
    call("dataset", "build", "--class", "rig", *where, "--site", "lab", "--out", str(file))
    call("dataset", "freeze", str(file), *where)
    digest = json.loads(file.read_text())["sha256"]
    models = [str(trained["deaf"]), str(trained["good"])]
    frozen = call("compare", *models, "--dataset", digest, "--labels", str(orders), "--dry-run")
    plain = call("compare", *models, *where, "--site", "lab", "--dry-run")
    assert frozen["verdict"] == plain["verdict"] == "undecided"  # the first rows of it were trained on
    assert frozen["reasons"] == plain["reasons"]
    for same in ("figures", "labels_sha256", "assets", "slices"):
        assert frozen[same] == plain[same]
    dataset = frozen["dataset"]
    assert isinstance(dataset, dict)
    assert dataset["sha256"] == digest
