"""The trial of one model, in a process of its own: `python -m edge_agent.updater.preflight MODEL MANIFEST`.

A model that crashes its runtime, eats memory or never returns takes only this process with it. The bytes whose
digest was checked are the bytes that are loaded. Prints one line of JSON: `{"reason": "", "detail": "..."}`; the
reason is empty when the model may run.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.supervisor import die_with_parent
from headwater.contract.canonical import canonical_json, sha256
from headwater.contract.errors import HeadwaterError, Untrusted
from headwater.contract.manifest import Manifest, decode_manifest
from headwater.contract.refusals import BAD_DIGEST, BAD_MANIFEST, NOT_A_MODEL, TOO_SLOW

if TYPE_CHECKING:
    from headwater.transport.tflite import Floats, Model

_TIMED_SCORES = 50


def main(arguments: list[str] | None = None) -> None:
    """Limit this process, try the model, print the verdict; exit 0 when there is one."""
    parser = argparse.ArgumentParser(prog="preflight", description="Try a model against its golden vectors.")
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--memory-bytes", type=int, default=1 << 30)
    parser.add_argument("--cpu-s", type=int, default=30)
    parser.add_argument("--score-budget-ms", type=float, default=50.0)
    chosen = parser.parse_args(arguments)
    if not die_with_parent():
        return
    resource.setrlimit(resource.RLIMIT_AS, (chosen.memory_bytes, chosen.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (chosen.cpu_s, chosen.cpu_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        detail = _try(chosen.model.read_bytes(), decode_manifest(chosen.manifest.read_bytes()), chosen.score_budget_ms)
        verdict = {"reason": "", "detail": detail}
    except HeadwaterError as error:
        verdict = {"reason": error.reason or BAD_MANIFEST, "detail": str(error)}
    sys.stdout.buffer.write(canonical_json(verdict) + b"\n")


def _try(data: bytes, manifest: Manifest, budget_ms: float) -> str:
    # The limits come first: numpy and the runtime are loaded under them.
    import numpy as np  # noqa: PLC0415  # under the limits of `_try`

    from edge_agent.scorer.models import check_golden  # noqa: PLC0415  # as above
    from headwater.transport.tflite import Model  # noqa: PLC0415  # as above

    if sha256(data) != manifest.sha256 or len(data) != manifest.size_bytes:
        raise Untrusted("the model is not the one that its manifest describes", reason=BAD_DIGEST)
    model = Model(data)
    inputs = np.array(manifest.golden.inputs, np.float32)
    if model.features != inputs.shape[1]:
        raise Untrusted(f"takes {model.features} features, its manifest says {inputs.shape[1]}", reason=NOT_A_MODEL)
    check_golden(manifest.golden, model.score(inputs)[0], f"{manifest.asset_class} v{manifest.version}")
    median_ms = statistics.median(_times_ms(model, inputs))
    if median_ms > budget_ms:
        raise Untrusted(f"a score takes {median_ms:.1f} ms, at most {budget_ms:g} are allowed", reason=TOO_SLOW)
    return f"{len(inputs)} golden vectors agree, {median_ms:.3f} ms a score"


def _times_ms(model: Model, inputs: Floats) -> list[float]:
    times = []
    for i in range(_TIMED_SCORES):
        row = inputs[i % len(inputs)]
        began = time.perf_counter()
        model.score(row[None, :])
        times.append((time.perf_counter() - began) * 1000)
    return times


if __name__ == "__main__":
    main()
