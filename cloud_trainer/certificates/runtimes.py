"""The runtimes of the fleet, each in an environment of its own, asked by starting its interpreter."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cloud_trainer.certificates import runner
from cloud_trainer.series import Vectors
from headwater.contract.errors import BadSetting, GateFailed

_ROOT = Path(__file__).parents[2]  # what holds the packages of this project
_LONGEST_S = 600
MAKE = "make parity-envs makes the environments; trainer.parity.runtimes names their interpreters"


class Ran(NamedTuple):
    """What a runtime gave: its class, scores [n], contributions [n, P], and microseconds a window."""

    runtime: str
    scores: Vectors
    parts: Vectors
    microseconds: float


def runtime_of(interpreter: Path) -> str:
    """Class of the runtime in the environment of an interpreter; BadSetting where there is none that runs."""
    return _start(interpreter).runtime


def run(interpreter: Path, model: bytes, rows: Vectors) -> Ran:
    """Run a model over vectors float32 [n, F]; GateFailed where that runtime refuses it, BadSetting as `runtime_of`."""
    with tempfile.TemporaryDirectory(prefix="headwater-parity-") as folder:
        work = Path(folder)
        (work / "model.tflite").write_bytes(model)
        np.save(work / "rows.npy", rows)
        told = _start(interpreter, folder)
        if told.microseconds is None:
            raise GateFailed(
                f"{told.runtime} does not run the model: {told.problem}", hint="edges with this runtime cannot have it"
            )
        scores, parts = np.load(work / "scores.npy"), np.load(work / "parts.npy")
    return Ran(told.runtime, scores, parts, told.microseconds)


class _Told(NamedTuple):
    runtime: str
    microseconds: float | None
    problem: str


def _start(interpreter: Path, *more: str) -> _Told:
    command: Sequence[str] = [str(interpreter), "-I", runner.__file__, str(_ROOT), *more]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    except OSError as error:
        raise BadSetting(f"{interpreter} cannot be started: {error.strerror}", hint=MAKE) from error
    except subprocess.TimeoutExpired as error:
        raise GateFailed(f"{interpreter} has not run the model after {_LONGEST_S} s") from error
    last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines or "runtime" not in lines[0] or (done.returncode and not more):
        raise BadSetting(f"{interpreter} has no runtime: {last}", hint=MAKE)
    ran = lines[-1].get("microseconds") if done.returncode == 0 else None
    return _Told(lines[0]["runtime"], ran, last)
