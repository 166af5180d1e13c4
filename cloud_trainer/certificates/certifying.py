"""The gate before publishing: certificates of every runtime, or none of the model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from cloud_trainer.certificates import runtimes
from cloud_trainer.certificates.followed import Machine, courses
from cloud_trainer.certificates.replay import Replay
from cloud_trainer.series import Floats, Vectors
from headwater.contract.alarm import AlarmRule, AlarmState, step
from headwater.contract.canonical import sha256
from headwater.contract.errors import GateFailed
from headwater.contract.following import EpisodeSpec
from headwater.contract.manifest import Certificate, Manifest

TOLERANCE = 1e-5  # of scores, relative
TOLERANCE_OF_PARTS = 1e-3  # of contributions, which are for people: relative to the largest of their window
INSTALLED = Path(sys.executable)  # the runtime of the trainer's own environment


def certify(
    model: bytes,
    replay: Replay,
    rule: AlarmRule,
    interpreters: Sequence[Path],
    episodes: EpisodeSpec | None = None,
) -> tuple[Certificate, ...]:
    """A certificate of each runtime, of the one that is installed here where none is named.

    With `episodes` no alarm may flip by these either. GateFailed says which runtime computes something else, or
    does not run the model; BadSetting names an interpreter that has no runtime.
    """
    if episodes is not None and not any(part.means is not None for part in replay.parts):
        raise GateFailed(
            "the replay says nothing of machines that are followed, as the model's alarms do",
            hint="it was written by an older trainer: train the model again",
        )
    return tuple(_certify(model, replay, rule, each, episodes) for each in (interpreters or (INSTALLED,)))


def _certify(
    model: bytes, replay: Replay, rule: AlarmRule, interpreter: Path, episodes: EpisodeSpec | None
) -> Certificate:
    ran = runtimes.run(interpreter, model, replay.rows)
    if ran.parts.shape != replay.contributions.shape:
        raise GateFailed(f"{ran.runtime} gives {ran.parts.shape[1]} contributions, not as trained")
    apart = _apart(ran.scores, replay.scores, replay.least)
    most = np.maximum(replay.contributions.max(axis=1), np.finfo(np.float32).tiny)
    of_parts = float((np.abs(ran.parts - replay.contributions).max(axis=1) / most).max())
    worst = float(apart.max())
    flips = flips_of(replay, ran.scores, rule, episodes)
    if not (worst <= TOLERANCE and of_parts <= TOLERANCE_OF_PARTS and not flips):
        raise GateFailed(
            f"{ran.runtime} is {worst:.1e} away from training in scores and {of_parts:.1e} in contributions over "
            f"{len(apart):,} windows, with {len(flips)} alarm flips" + (f", the first in {flips[0]}" if flips else ""),
            hint=f"{TOLERANCE:.0e} and {TOLERANCE_OF_PARTS:.0e} are allowed, and no flip; where there are flips alone, "
            "a score lies on a threshold: another trainer.recipe.margin moves it, another seed replays other faults",
        )
    p999 = float(np.quantile(apart, 0.999))
    return Certificate(ran.runtime, len(apart), worst, p999, len(flips), sha256(model), replay.digest())


def _apart(scores: Vectors, wanted: Floats, least: float) -> Floats:
    """Relative differences; NaN, which is never within a tolerance, where one of them is not a number."""
    return np.asarray(np.abs(scores - wanted) / np.maximum(np.abs(wanted), least))


def flips_of(replay: Replay, scores: Vectors, rule: AlarmRule, episodes: EpisodeSpec | None = None) -> list[str]:
    """Windows after which an alarm is open in one and not in the other, in words; by `rule`, then by `episodes`.

    Where machines are followed a baseline that differs is a flip too: from there on the edge asks about other windows.
    """
    at = np.cumsum([0, *(len(part.rows) for part in replay.parts)]).tolist()
    by_part = [tuple(each[a:b].astype(np.float64) for each in (replay.scores, scores)) for a, b in pairwise(at)]
    found = []
    for part, both in zip(replay.parts, by_part, strict=True):
        ours, theirs = (_open(rule, each.tolist(), part.threshold) for each in both)
        found += [f"window {n} of {part.key}" for n, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
    if episodes is None:
        return found
    lanes = [
        (Machine(p.key, p.threshold, p.means), b)
        for p, b in zip(replay.parts, by_part, strict=True)
        if p.means is not None
    ]
    machines = [machine for machine, _ in lanes]
    ways = [courses(episodes, machines, [both[way] for _, both in lanes]) for way in (0, 1)]
    for machine, ours_of, theirs_of in zip(machines, *ways, strict=True):
        other = (ours_of.is_open != theirs_of.is_open) | (ours_of.baseline != theirs_of.baseline).any(axis=1)
        found += [f"window {n} of {machine.key}, followed" for n in np.flatnonzero(other).tolist()]
    return found


def _open(rule: AlarmRule, scores: Sequence[float], threshold: float) -> list[bool]:
    state, found = AlarmState(), []
    for number, score in enumerate(scores):
        state = step(rule, state, score, threshold, f"{number}")[0]
        found.append(bool(state.episode))
    return found


def check_certified(manifest: Manifest, interpreters: Sequence[Path]) -> None:
    """GateFailed unless the model has a certificate of every runtime that is configured, or of the installed one."""
    there = manifest.certified()
    missing = [name for name in map(runtimes.runtime_of, interpreters or (INSTALLED,)) if name not in there]
    if missing:
        raise GateFailed(
            f"version {manifest.version} of {manifest.asset_class} is not certified for {', '.join(missing)}",
            hint="headwater train certify FOLDER, or train again",
        )
