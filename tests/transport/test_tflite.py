"""The adapter of the TFLite runtimes: what it loads, what it refuses, what it costs to import."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from cloud_trainer.export import export
from headwater.contract.errors import BadInput, Untrusted
from headwater.contract.manifest import MAX_MODEL_BYTES
from headwater.contract.refusals import NOT_A_MODEL
from headwater.transport import tflite

RNG = np.random.default_rng(1)
WEIGHTS = RNG.normal(size=(6, 6)).astype(np.float32)
BIAS = RNG.normal(size=6).astype(np.float32)
DATA = export(WEIGHTS, BIAS)


def rebuilt(change: Callable[[Any], object]) -> bytes:
    """The model with something in its structure changed by `change(model)`."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(DATA, 0))
    change(model)
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(model.Pack(builder), tflite.MAGIC)
    return bytes(builder.Output())


def test_it_computes_what_was_written() -> None:
    """Scores and contributions of a batch equal numpy's, row by row, whatever the layout of the batch."""
    model = tflite.Model(DATA)
    rows = np.asfortranarray(RNG.normal(size=(50, 6)).astype(np.float32))
    scores, parts = model.score(rows)
    whitened = rows.astype(np.float64) @ WEIGHTS.T.astype(np.float64) + BIAS
    assert np.allclose(parts, whitened**2, rtol=1e-4, atol=1e-6)
    assert np.allclose(scores, np.sqrt((whitened**2).sum(axis=1)), rtol=1e-6)
    assert scores.dtype == parts.dtype == np.float32
    one = np.concatenate([model.score(rows[i : i + 1])[0] for i in range(50)])
    assert np.array_equal(one, scores)


def test_no_rows_give_no_scores() -> None:
    """An empty batch is answered by empty arrays of the right shapes."""
    scores, parts = tflite.Model(DATA).score(np.zeros((0, 6), np.float32))
    assert scores.shape == (0,)
    assert parts.shape == (0, 6)


def test_what_is_not_finite_is_passed_on() -> None:
    """A NaN in the vector or in the model comes out as NaN: judging it is the caller's work."""
    model = tflite.Model(DATA)
    rows = np.zeros((3, 6), np.float32)
    rows[1, 2] = np.nan
    scores, _ = model.score(rows)
    assert np.isnan(scores).tolist() == [False, True, False]


@pytest.mark.parametrize("shape", [(2, 5), (2, 7), (6,), (1, 2, 3)])
def test_vectors_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    """A batch that the model does not take is told before it reaches the runtime."""
    with pytest.raises(BadInput, match="the model takes"):
        tflite.Model(DATA).score(np.zeros(shape, np.float32))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x00" * 64, b"\x1c\x00\x00\x00TFL2" + DATA[8:], b"x" * 100])
def test_what_is_no_model_is_untrusted(data: bytes) -> None:
    """Bytes without the format's magic are refused before any runtime is loaded."""
    with pytest.raises(Untrusted) as caught:
        tflite.Model(data)
    assert caught.value.reason == NOT_A_MODEL


def test_a_model_that_is_too_large_is_untrusted() -> None:
    """The bound of a manifest holds here too."""
    with pytest.raises(Untrusted, match="at most"):
        tflite.Model(DATA + b"\0" * MAX_MODEL_BYTES)


def _rename(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].name = b"x"


def _batch(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].shape = [2, 6]


def _one_output(model: schema.ModelT) -> None:
    model.subgraphs[0].outputs = model.subgraphs[0].outputs[:1]
    model.signatureDefs = []


def _integers(model: schema.ModelT) -> None:
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].type = schema.TensorType.INT32


def _unknown_operator(model: schema.ModelT) -> None:
    model.operatorCodes[0].version = 99


@pytest.mark.parametrize("change", [_rename, _batch, _one_output, _integers, _unknown_operator])
def test_a_model_of_another_kind_is_refused(change: object) -> None:
    """Other tensors, shapes, types, or an operator that the runtime lacks: a sentence and a reason, no crash."""
    with pytest.raises(BadInput) as caught:
        tflite.Model(rebuilt(change))
    assert caught.value.reason == NOT_A_MODEL


def test_the_runtime_class_names_the_arithmetic() -> None:
    """Runtime, version and machine, as manifests and score headers carry it."""
    runtime, version, machine = tflite.runtime_class().split("/")
    assert runtime in {"litert", "tflite-runtime"}
    assert version[0].isdigit()
    assert machine


def test_importing_the_adapter_loads_no_runtime() -> None:
    """A process that only passes models on does not pay for the runtime."""
    code = "import sys, headwater.transport.tflite; print([m for m in sys.modules if 'litert' in m or 'flatb' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


def test_changed_bytes_are_refused_or_score(tmp_path: Path) -> None:
    """Of 2,000 models with a changed or missing byte, each is refused with our error, scores, or ends its process.

    The runtime is native code: what it cannot survive ends a child process, which is why models are tried in one.
    """
    (tmp_path / "model").write_bytes(DATA)
    script = tmp_path / "mutate.py"
    script.write_text(
        textwrap.dedent("""
        import json, random, sys
        import numpy as np
        from headwater.contract.errors import BadInput, Untrusted
        from headwater.transport import tflite
        data, start, end = open(sys.argv[1], "rb").read(), int(sys.argv[2]), int(sys.argv[3])
        for seed in range(start, end):
            rng = random.Random(seed)
            changed = bytearray(data)
            at = rng.randrange(len(data))
            if rng.random() < 0.2:
                del changed[at:]
            else:
                changed[at] ^= 1 << rng.randrange(8)
            print(seed, flush=True)
            try:
                tflite.Model(bytes(changed)).score(np.ones((1, 6), np.float32))
            except (BadInput, Untrusted):
                print("refused", flush=True)
            else:
                print("scored", flush=True)
        """)
    )
    at, outcomes = 0, {"refused": 0, "scored": 0, "crashed": 0}
    while at < 2000:
        command = [sys.executable, str(script), str(tmp_path / "model"), str(at), "2000"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        lines = done.stdout.split()
        outcomes["refused"] += lines.count("refused")
        outcomes["scored"] += lines.count("scored")
        if done.returncode == 0:
            break
        assert done.returncode < 0, done.stderr[-2000:]  # a signal; an exception of another kind would be ours
        outcomes["crashed"] += 1
        at = int([line for line in lines if line.isdigit()][-1]) + 1
    print(json.dumps(outcomes))
    assert sum(outcomes.values()) == 2000
    assert outcomes["refused"] > 100
