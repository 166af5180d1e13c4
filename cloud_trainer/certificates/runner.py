"""Runs a model over vectors in another environment: `python -I runner.py ROOT FOLDER`.

Started by path in the environment of a runtime, which holds that runtime, numpy, msgspec and pydantic, and need not
hold Headwater. Of ROOT, where this project lies, only the package `headwater` is seen, so that the model is run by the
edge's own code, and nothing of the trainer's environment comes in. FOLDER has `model.tflite` and `rows.npy`
(float32 [n, F]); `scores.npy` and `parts.npy` are written there. Prints a line of JSON with the runtime's class, and
behind the run one with microseconds a window. Without FOLDER it only says which runtime it has.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import ModuleType


def _only_headwater(root: Path) -> None:
    """Make `headwater` importable from ROOT, and nothing else of it; what its packages do when loaded is left out."""
    for name in ("headwater", "headwater.transport"):
        package = ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[name] = package


def main(root: str, folder: str | None = None) -> None:
    """Run the model of a folder; what a model cannot do ends as an exception of Headwater's."""
    _only_headwater(Path(root))
    from headwater.transport import tflite  # noqa: PLC0415  importable from here on

    print(json.dumps({"runtime": tflite.runtime_class()}), flush=True)
    if folder is not None:
        import numpy as np  # noqa: PLC0415  not needed to say which runtime there is

        work = Path(folder)
        model = tflite.Model((work / "model.tflite").read_bytes())
        rows = np.load(work / "rows.npy", allow_pickle=False)
        began = time.perf_counter()
        scores, parts = model.score(rows)
        took = time.perf_counter() - began
        np.save(work / "scores.npy", scores)
        np.save(work / "parts.npy", parts)
        print(json.dumps({"microseconds": took / max(1, len(rows)) * 1e6}))


if __name__ == "__main__":
    main(*sys.argv[1:])
