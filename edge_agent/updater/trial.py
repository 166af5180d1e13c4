"""Runs the trial of a model in a child process, and turns whatever becomes of it into a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from edge_agent.supervisor import PARENT
from edge_agent.updater.settings import UpdaterSettings
from headwater.contract.errors import GateFailed
from headwater.contract.refusals import PREFLIGHT_CRASHED, PREFLIGHT_TIMEOUT

_KEPT_OUTPUT_BYTES = 4096
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # each thread reserves address space


class _Verdict(msgspec.Struct, frozen=True):
    reason: str
    detail: str


def try_model(model: Path, manifest: Path, settings: UpdaterSettings) -> str:
    """Return what the trial says of a model that may run; GateFailed with the reason code otherwise."""
    command = [
        *(sys.executable, "-m", "edge_agent.updater.preflight", str(model), str(manifest)),
        *("--memory-bytes", str(settings.trial_memory_bytes), "--cpu-s", str(max(1, int(settings.trial_timeout_s)))),
        *("--score-budget-ms", str(settings.score_budget_ms)),
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    env |= {**dict.fromkeys(_THREADS, "1"), PARENT: str(os.getpid())}
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            timeout=settings.trial_timeout_s,
            check=False,
            env=env,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        message = f"the trial did not end within {settings.trial_timeout_s:g} s"
        raise GateFailed(message, reason=PREFLIGHT_TIMEOUT) from error
    return judge(ended.returncode, ended.stdout, ended.stderr)


def judge(returncode: int, stdout: bytes, stderr: bytes) -> str:
    """The verdict of a trial that ended: its detail, or GateFailed with a reason. Pure."""
    if returncode == -signal.SIGXCPU:
        raise GateFailed("the trial used more processor time than allowed", reason=PREFLIGHT_TIMEOUT)
    verdict = _verdict(stdout) if returncode == 0 else None
    if verdict is None:
        how = signal.Signals(-returncode).name if returncode < 0 else f"exit status {returncode}"
        last = (stderr[-_KEPT_OUTPUT_BYTES:].decode(errors="replace").strip().splitlines() or ["no output"])[-1]
        raise GateFailed(f"the trial process died ({how}): {last[:300]}", reason=PREFLIGHT_CRASHED)
    if verdict.reason:
        raise GateFailed(verdict.detail, reason=verdict.reason)
    return verdict.detail


def _verdict(stdout: bytes) -> _Verdict | None:
    lines = stdout.strip().splitlines()
    try:
        return msgspec.json.decode(lines[-1], type=_Verdict) if lines else None
    except msgspec.DecodeError:
        return None
