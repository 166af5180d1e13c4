"""A certificate of each runtime before a model is published, and the traps that it must catch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from typer.testing import CliRunner

from cloud_trainer import local
from cloud_trainer.certificates import replay, runtimes
from cloud_trainer.certificates.certifying import certify, check_certified
from cloud_trainer.certificates.replay import LEAST, Part, Replay
from cloud_trainer.cli import app
from cloud_trainer.export import export
from cloud_trainer.making import certified, make, make_manifest, replay_of
from cloud_trainer.pool.networks import Network
from cloud_trainer.recipe import Recipe
from headwater.contract.alarm import AlarmRule
from headwater.contract.canonical import sha256
from headwater.contract.errors import BadInput, BadSetting, GateFailed
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, decode_manifest
from headwater.transport import tflite
from tests.cloud_trainer.certificates import traps
from tests.cloud_trainer.certificates.environments import HERE, old_runtime
from tests.cloud_trainer.pool.windows import WINDOW, training_set

LEARN = training_set(2_000)
MADE = make(LEARN, Recipe(window=WINDOW, step=4))
NETWORK = make(LEARN, Recipe(window=WINDOW, step=4, budget_s=9.0, estimators={}))
INTEGERS = make(LEARN, Recipe(window=WINDOW, step=4, budget_s=9.0, estimators={}, precision="int8"))
RULE = AlarmRule()
ROWS = np.random.default_rng(2).normal(size=(400, traps.WIDTH)).astype(np.float32)


def replayed(rows: np.ndarray = ROWS) -> Replay:
    """What training would have computed of the dense layer of the traps."""
    scores = traps.wanted(rows)
    parts = (rows.astype(np.float64) @ traps.WEIGHTS.T) ** 2
    return Replay((Part("lyon/rig-1", rows, float(np.median(scores))),), scores, parts)


def test_ten_thousand_windows_are_replayed_healthy_and_with_faults() -> None:
    """All healthy windows of a small set, golden vectors, and as many with faults as are missing; twice the same."""
    found = replay_of(MADE)
    assert len(found.rows) >= LEAST
    healthy = sum(len(rows) for rows in MADE.trained.vectors.values())
    assert sum(len(part.rows) for part in found.parts[1:3]) == healthy
    over = found.scores > MADE.trained.thresholds[""]
    assert 0.01 < over.mean() < 0.9
    assert replay_of(MADE).digest() == found.digest()
    assert replay_of(NETWORK).digest() != found.digest()


@pytest.mark.parametrize("made", [MADE, NETWORK, INTEGERS], ids=["linear", "network", "int8"])
def test_each_runtime_of_the_fleet_is_certified(made: object) -> None:
    """tflite-runtime 2.14.0 and the installed one agree with training to 1e-5, no alarm flips; the manifest says so."""
    again = certified(made, (HERE, old_runtime()))  # type: ignore[arg-type]  # a stand-in that has what is used
    manifest = decode_manifest(make_manifest("rig-1", 1, again).encode())
    first, second = manifest.certificates
    assert first.runtime == tflite.runtime_class()
    assert second.runtime.startswith("tflite-runtime/2.14.0/")
    for each in (first, second):
        assert each.windows >= LEAST
        assert each.p999 <= each.worst <= 1e-5
        assert each.flips == 0
        assert each.model_sha256 == manifest.sha256
        assert each.data_sha256 == replay_of(again).digest()
    assert manifest.certified() == tuple(manifest.parity) == (first.runtime, second.runtime)
    check_certified(manifest, (HERE, old_runtime()))


def test_what_we_write_needs_the_oldest_operators_alone() -> None:
    """In float32 every operator has version 1; none is a transposed convolution, whose int8 kind 2.14 refuses."""
    assert isinstance(NETWORK.trained.detector, Network)
    assert isinstance(INTEGERS.trained.detector, Network)
    assert INTEGERS.trained.detector.integers is not None
    for data in (MADE.model, NETWORK.model):
        codes = schema.ModelT.InitFromPackedBuf(data).operatorCodes
        assert {code.version for code in codes} == {1}
        assert schema.BuiltinOperator.TRANSPOSE_CONV not in {code.builtinCode for code in codes}


def test_an_operator_that_is_too_new_is_refused() -> None:
    """FULLY_CONNECTED of version 12 runs in the newer runtime and not in 2.14.0: no certificate, and the reason."""
    assert certify(traps.dense(12), replayed(), RULE, (HERE,))
    with pytest.raises(GateFailed, match=r"tflite-runtime/2\.14\.0.*FULLY_CONNECTED.*version '12'"):
        certify(traps.dense(12), replayed(), RULE, (HERE, old_runtime()))


def test_a_transposed_convolution_with_int8_weights_is_refused() -> None:
    """2.14.0 does not load it: no certificate."""
    with pytest.raises(GateFailed, match=r"tflite-runtime/2\.14\.0.*TRANSPOSE_CONV"):
        certify(traps.transposed(), replayed(), RULE, (old_runtime(),))


def test_a_dynamic_range_model_that_is_silently_wrong_is_caught() -> None:
    """2.14.0 loads int8 weights with a scale a row, and computes something else altogether; the newer runtime does not.

    Neither gets a certificate: the old one is off by more than a standard deviation, the newer one by its rounding.
    """
    model = traps.dense(9, is_dynamic=True)
    off = {}
    for name, interpreter in (("new", HERE), ("old", old_runtime())):
        scores = runtimes.run(interpreter, model, ROWS).scores
        off[name] = float(np.abs(scores - traps.wanted(ROWS)).max() / traps.wanted(ROWS).std())
    assert off["new"] < 0.1
    assert off["old"] > 1.0
    with pytest.raises(GateFailed, match="away from training"):
        certify(model, replayed(), RULE, (old_runtime(),))


@pytest.mark.parametrize("spoil", ["weight", "nan", "other"])
def test_a_wrong_model_gets_no_certificate(spoil: str) -> None:
    """One weight changed by a thousandth, a model of NaN, a model with other features: refused."""
    linear = MADE.trained.detector.linear  # type: ignore[attr-defined]  # which kind it is, the test chose
    weights = linear.weights.copy()
    if spoil == "weight":
        weights[1, 1] *= np.float32(1.001)
    elif spoil == "nan":
        weights[:] = np.nan
    data = traps.dense() if spoil == "other" else export(weights, linear.bias)
    with pytest.raises(GateFailed, match=r"away from training|does not run the model"):
        certify(data, replay_of(MADE), RULE, ())


def test_other_alarms_get_no_certificate() -> None:
    """Scores within the tolerance that open other alarms are refused."""
    found = replayed(np.repeat(ROWS[:1], 400, axis=0))
    score = float(tflite.Model(traps.dense()).score(ROWS[:1])[0][0])
    between = (score + found.scores[0]) / 2
    if between in (score, found.scores[0]):
        pytest.skip("this runtime gives the very same score")
    on_edge = dataclasses.replace(found, parts=(Part("lyon/rig-1", found.rows, between),))
    with pytest.raises(GateFailed, match=r"with 39\d alarm flips"):
        certify(traps.dense(), on_edge, RULE, (HERE,))


def test_nothing_is_published_without_a_certificate_of_each_configured_runtime() -> None:
    """A manifest with none, with one of another model, or of too few runtimes is refused by name."""
    manifest = make_manifest("rig-1", 1, certified(MADE, (HERE,)))
    check_certified(manifest, ())
    with pytest.raises(GateFailed, match=r"not certified for tflite-runtime/2\.14\.0"):
        check_certified(manifest, (HERE, old_runtime()))
    other = msgspec.structs.replace(manifest.certificates[0], model_sha256=sha256(b"another"))
    for certificates in ((), (other,)):
        with pytest.raises(GateFailed, match="not certified"):
            check_certified(msgspec.structs.replace(manifest, certificates=certificates), (HERE,))


def test_an_interpreter_without_a_runtime_is_a_setting_with_a_sentence(tmp_path: Path) -> None:
    """No such file, no Python, a Python without a runtime: each named, with what makes the environments."""
    for path in (tmp_path / "none", Path("/bin/false")):
        with pytest.raises(BadSetting) as raised:
            certify(MADE.model, replay_of(MADE), RULE, (path,))
        assert str(path) in str(raised.value)
        assert "make parity-envs" in raised.value.hint


def test_a_model_is_certified_later_for_more_runtimes(tmp_path: Path) -> None:
    """`headwater train certify FOLDER` replays what lies beside the model, and adds what agrees to its manifest."""
    local.write(certified(MADE, (HERE,)), "rig-1", 1, tmp_path)
    again = replay.load(tmp_path / replay.FILE)
    assert again.digest() == replay_of(MADE).digest()
    asked = ["certify", str(tmp_path), "--runtime", str(old_runtime()), "--json"]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0
    assert json.loads(done.stdout)["certificates"][0]["flips"] == 0
    manifest = decode_manifest((tmp_path / MANIFEST_FILE).read_bytes())
    assert [each.runtime.split("/")[0] for each in manifest.certificates] == ["litert", "tflite-runtime"]
    (tmp_path / MODEL_FILE).write_bytes(NETWORK.model)
    assert CliRunner().invoke(app, asked).exit_code != 0


def test_what_is_no_replay_is_refused(tmp_path: Path) -> None:
    """A missing or broken file is named, with what writes it."""
    (tmp_path / "broken").write_bytes(b"PK")
    for name in ("none", "broken"):
        with pytest.raises(BadInput, match=name):
            replay.load(tmp_path / name)
