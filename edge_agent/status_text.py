"""What `headwater edge status` finds, as lines for people."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

COUNTS = {
    "readings": "readings seen by the scorer",
    "windows": "windows scored",
    "before_model": "readings that came before there was a model",
    "dead_letters": "readings that the scorer refused (topic dead-letters)",
    "not_finite": "windows whose score was no number",
    "unheeded": "alarms that operators called false where that changed nothing (the scorer's log says why)",
    "unplaced": "readings that were no cycle of a life, since a setting of the machine is missing in them",
    "void": "machines that run where their healthy limits do not hold: calibrate them anew (headwater train sites)",
    "missed": "readings that Kafka had dropped before they were scored",
}
_PHASES = {"idle": "up to date", "waiting": "waits and tries again", "stuck": "cannot go on by itself"}


def lines(found: dict[str, Any]) -> list[str]:
    """One line a fact: what it is about, then what is the case."""
    pid, state = found["bridge_pid"], found["status"] or {}
    bridge = found.get("bridge")
    rows = [("site", found["site"])]
    if bridge is not None:
        rows.append(("bridge", f"{bridge['standing']} (process {bridge['pid']})"))
    else:
        rows.append(("bridge", "not running" if pid is None else f"subscribed (process {pid})"))
    for name, active in sorted(state.get("active", {}).items()):
        version, digest = active["version"], active["sha256"][:12]
        rows.append(("model", f"{name}: version {version} ({digest}), from {active['source']}"))
    rows.append(("updater", _updater((found["desired"] or {}).get("updater"))))
    for refusal in state.get("refused", []):
        what = f"{refusal['asset_class']} {refusal['version']}"
        rows.append(("refused", f"{what}: {refusal['reason']}, {refusal['detail']}"))
    for void in state.get("void", []):
        since = datetime.fromtimestamp(void["t"] / 1000, UTC).isoformat(sep=" ", timespec="seconds")
        where = f"offset {void['since']} of readings[{void['partition']}]"
        rows.append(("void", f"{void['asset']} ({void['asset_class']}) since {since.removesuffix('+00:00')}, {where}"))
    counts = state.get("counts", {})
    rows += [("count", f"{counts[name]:,} {words}") for name, words in COUNTS.items() if name in counts]
    rows += [("problem", problem) for problem in found["problems"]]
    return [f"{name:<9} {value}" for name, value in rows]


def _updater(updater: dict[str, Any] | None) -> str:
    if updater is None or not updater["checked_at"]:
        return "has not looked for models yet"
    ago = f"last look {max(0.0, time.time() - updater['checked_at'] / 1000):,.0f} s ago"
    error = f": {updater['last_error']}" if updater["last_error"] else ""
    return f"{_PHASES[updater['phase']]}, {ago}{error}"
