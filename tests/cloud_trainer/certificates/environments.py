"""Environments with the fleet's runtimes, as `make parity-envs` makes them."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HERE = Path(sys.executable)


@functools.cache
def _made(runtime: str) -> tuple[str, str]:
    done = subprocess.run(
        [ROOT / ".ci/parity-envs", "build/parity", runtime], capture_output=True, text=True, timeout=280, check=False
    )
    return (done.stdout.strip() if done.returncode == 0 else ""), done.stderr.strip()


def old_runtime() -> Path:
    """Python of an environment with tflite-runtime 2.14.0; skips where it cannot be made, and says why (CI fails)."""
    interpreter, why = _made("tflite-runtime")
    if not interpreter:
        message = f"the environment of tflite-runtime 2.14.0 cannot be made: {why}"
        if os.environ.get("CI") and sys.version_info[:2] == (3, 11):
            pytest.fail(message)
        pytest.skip(message)
    return ROOT / interpreter
