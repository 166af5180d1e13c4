"""Does the demo notice? `python -m tests.e2e.sabotage [WORD...]` runs it once for each deed of plug/sitecustomize.py.

Each run has one promise broken in its real processes, and must fail by exactly the lines that speak of it. Takes a
minute and a half a deed; words choose the deeds whose names hold one. The whole demo's duration is not judged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from headwater.app.demo.promises import TITLES
from tests.e2e.plug import sitecustomize

ROOT = Path(__file__).parents[2]
PLUG = Path(sitecustomize.__file__).parent
CATCHES: dict[str, set[str]] = {
    "nothing": set(),
    "edge believes any digest": {"demo.bad_models_refused", "demo.bad_models_activated"},
    "bridge acknowledges before Kafka has it": {"demo.readings_lost", "demo.edge_digests_wrong"},
    "bridge recognises no redelivery": {"demo.readings_duplicated", "demo.edge_digests_wrong"},
    "replicator ships a batch twice": {"demo.replication_duplicated", "demo.cloud_digests_wrong"},
    "replicator leaves a batch out": {"demo.replication_lost", "demo.cloud_digests_wrong"},
    "scorer skips windows": {"demo.windows_unscored"},
    "scorer writes scores twice": {"demo.windows_scored_twice"},
    "scorer writes a wrong digest": {"demo.scores_wrong"},
    "scorer swaps late": {"demo.swap_s"},
    "nobody can read a pump": {"demo.readings_refused", "demo.machines_unscored"},
    "scorer raises no alarm": {"demo.faults_found", "demo.alarm_delay_s"},
}
assert CATCHES.keys() == sitecustomize.DEEDS.keys()


def main(words: list[str]) -> int:
    """Run the deeds, print the table; 0 only if each was done and caught by exactly its lines."""
    chosen = [name for name in CATCHES if not words or any(word in name for word in words)]
    bad = 0
    print("| what is broken | lines that fail | as expected |\n|---|---|---|", flush=True)
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="headwater-sabotage-") as folder:
            code, figures, done = run(name, Path(folder))
        missed = {each for each, figure in figures.items() if is_missed(figure)} - {"demo.total_s"}
        as_expected = missed == CATCHES[name] and bool(done) == (name != "nothing") and code == (6 if missed else code)
        bad += not as_expected
        lines = "; ".join(f"{TITLES[each]}: {shown(figures[each])}" for each in TITLES if each in missed)
        print(f"| {name} | {lines or 'every line holds'} | {'yes' if as_expected else '**no**'} |", flush=True)
        print(f"{name}: exit code {code}, missed {sorted(missed)}, done {done}", file=sys.stderr, flush=True)
    return 1 if bad else 0


def run(name: str, folder: Path) -> tuple[int, dict[str, dict[str, Any]], list[str]]:
    """Exit code and figures of a demo with this deed, and where it was done."""
    log = folder / "done"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    path = os.pathsep.join([str(PLUG), *filter(None, [kept.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, "-m", "headwater", "demo", "--json", "--report", str(folder / "report.html")],
        env=kept | {"PYTHONPATH": path, "SABOTAGE": name, "SABOTAGE_LOG": str(log)},
        capture_output=True, text=True, cwd=ROOT, timeout=600, check=False,
    )  # fmt: skip
    figures = json.loads(ended.stdout)["figures"] if ended.stdout else []
    if not figures:
        print(ended.stderr, file=sys.stderr)
    done = sorted({line[:80] for line in log.read_text().splitlines()}) if log.exists() else []
    return ended.returncode, {figure["name"]: figure for figure in figures}, done


def is_missed(figure: dict[str, Any]) -> bool:
    """Whether a line of the table says so."""
    return figure["goal"] is not None and not figure["met"] and not figure["note"].startswith("needs ")


def shown(figure: dict[str, Any]) -> str:
    """What was counted; the goal where it is not zero."""
    value = "nothing" if figure["value"] is None else f"{figure['value']:g}"
    return f"{value} of {figure['goal']:g}" if figure["better"] == "higher" else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
