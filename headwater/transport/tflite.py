"""The runtimes that execute a .tflite: ai-edge-litert where it is installed, tflite-runtime otherwise.

A model has the input `features` float32 [1, F] and the outputs `score` float32 [1] and `contributions` float32
[1, P], P a multiple of the channels; `cloud_trainer/export.py` and its likes write it. One thread and no delegate: at
this size they cost more than they give, and the same kernels then run wherever the model runs.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import platform
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.contract.errors import BadInput, Permanent, Untrusted
from headwater.contract.features import MAX_FEATURES
from headwater.contract.manifest import MAX_MODEL_BYTES
from headwater.contract.refusals import NOT_A_MODEL

INPUT = "features"
SCORE = "score"
CONTRIBUTIONS = "contributions"
MAGIC = b"TFL3"  # file identifier of the schema, bytes 4 to 8 (tensorflow/lite/schema/schema.fbs)
Floats = npt.NDArray[np.float32]

# Import name, distribution, and the name in runtime classes; the first that imports is used.
_RUNTIMES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert", "litert"),
    ("tflite_runtime.interpreter", "tflite-runtime", "tflite-runtime"),
)


class _Runtime(NamedTuple):
    module: Any
    name: str
    version: str


class _Shape(NamedTuple):
    """Where a model's tensors are, how many features it takes, and into how many parts it divides a score."""

    features: int
    parts: int
    input: int
    score: int
    contributions: int


@functools.cache
def _runtime() -> _Runtime:
    for module, distribution, name in _RUNTIMES:
        try:
            return _Runtime(importlib.import_module(module), name, importlib.metadata.version(distribution))
        except ImportError:
            continue
    raise Permanent(
        "no TFLite runtime is installed",
        hint="install ai-edge-litert, or on Python 3.11 and ARMv7 the extra `tflite`",
    )


def runtime_class() -> str:
    """Runtime, version and machine whose arithmetic runs here, such as `litert/2.3.0/x86_64`."""
    runtime = _runtime()
    return f"{runtime.name}/{runtime.version}/{platform.machine().lower()}"


class Model:
    """A model held in memory, ready to score. Not for use by several threads at once.

    Raises Untrusted for bytes that are no TFLite model, and BadInput for a model of another shape or with
    operators that this runtime lacks.
    """

    def __init__(self, data: bytes) -> None:
        self._interpreter = _open(data)
        with _ours("does not describe the model"):
            self._shape = _shape(self._interpreter)

    @property
    def features(self) -> int:
        """Number of features of a vector."""
        return self._shape.features

    @property
    def parts(self) -> int:
        """Into how many contributions a score is divided."""
        return self._shape.parts

    def score(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Scores [n] and contributions [n, P] of feature vectors [n, F], all float32.

        Numbers that are not finite are passed on, in and out. BadInput for another shape, or a model that breaks off.
        """
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise BadInput(f"vectors of shape {rows.shape}, the model takes [n, {self.features}]")
        try:
            if len(rows) == 1:  # at the edge mostly: what the runtime gives is the answer, in the same shape
                return self._one(rows)
            scores = np.empty(len(rows), np.float32)
            contributions = np.empty((len(rows), self.parts), np.float32)
            for i in range(len(rows)):
                (scores[i],), (contributions[i],) = self._one(rows[i : i + 1])
        except (ValueError, RuntimeError) as error:  # not `_ours`: that costs as much as a small network
            raise _refused("does not run the model", error) from error
        return scores, contributions

    def _one(self, row: Floats) -> tuple[Floats, Floats]:
        """Score [1] and contributions [1, P] of a vector [1, F]; copies, that no later run changes."""
        run, shape = self._interpreter, self._shape
        run.set_tensor(shape.input, row)
        run.invoke()
        return run.get_tensor(shape.score), run.get_tensor(shape.contributions)


@contextlib.contextmanager
def _ours(what: str) -> Iterator[None]:
    """Turn the runtime's exceptions into BadInput: only a model that is none makes it raise."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise _refused(what, error) from error


def _refused(what: str, error: Exception) -> BadInput:
    return BadInput(f"{runtime_class()} {what}: {_first_line(error)}", reason=NOT_A_MODEL)


def _open(data: bytes) -> Any:
    if len(data) > MAX_MODEL_BYTES:
        raise Untrusted(f"model of {len(data)} bytes, at most {MAX_MODEL_BYTES} are loaded", reason=NOT_A_MODEL)
    if len(data) < 8 or data[4:8] != MAGIC:
        message = f"not a TFLite model: bytes 4 to 8 are {data[4:8]!r}, expected {MAGIC!r}"
        raise Untrusted(message, reason=NOT_A_MODEL)
    module = _runtime().module
    resolver = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with _ours("does not load the model"):
        interpreter = module.Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
        return interpreter


def _details(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    inputs = {_name(d): d for d in interpreter.get_input_details()}
    return inputs, {_name(d): d for d in interpreter.get_output_details()}


def _features(inputs: dict[str, Any], outputs: dict[str, Any]) -> int:
    if set(inputs) != {INPUT} or set(outputs) != {SCORE, CONTRIBUTIONS}:
        raise _unfit(f"takes {sorted(inputs)} and gives {sorted(outputs)}")
    shape = tuple(int(n) for n in inputs[INPUT]["shape"])
    if len(shape) != 2 or shape[0] != 1 or not 1 <= shape[1] <= MAX_FEATURES:
        raise _unfit(f"takes an input of shape {shape}, expected (1, 1 to {MAX_FEATURES})")
    if any(d["dtype"] != np.float32 for d in (*inputs.values(), *outputs.values())):
        raise _unfit("has an input or output that is not float32")
    return shape[1]


def _shape(interpreter: Any) -> _Shape:
    inputs, outputs = _details(interpreter)
    features = _features(inputs, outputs)
    score, contributions = outputs[SCORE], outputs[CONTRIBUTIONS]
    parts = tuple(int(n) for n in contributions["shape"])
    if tuple(score["shape"]) != (1,) or len(parts) != 2 or parts[0] != 1 or not 1 <= parts[1] <= MAX_FEATURES:
        raise _unfit(f"gives outputs of shapes {tuple(score['shape'])} and {tuple(contributions['shape'])}")
    return _Shape(features, parts[1], int(inputs[INPUT]["index"]), int(score["index"]), int(contributions["index"]))


def _unfit(what: str) -> BadInput:
    return BadInput(f"the model {what}: not a Headwater model", reason=NOT_A_MODEL)


def _name(detail: dict[str, Any]) -> str:
    return str(detail["name"])


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
