"""Replaying what the edge does with a model whose alarms follow the machine (headwater/contract/following.py).

What the network is asked depends on the baseline, and the baseline on what it said before. All parts run side by side,
window by window: each is a machine that begins where it was calibrated. A part that is over has rows of NaN, which
change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from cloud_trainer.pool.detector import Layout, vectors
from cloud_trainer.series import Floats, Vectors
from headwater.contract.episodes import Episodes, Flags
from headwater.contract.following import EpisodeSpec


class Machine(NamedTuple):
    """`site/asset`, its threshold, and scaled means of its windows [n, channels]."""

    key: str
    threshold: float
    means: Floats


class Course(NamedTuple):
    """After each window of a machine: whether an alarm is open, and its baseline [n, channels]."""

    is_open: Flags
    baseline: Floats


def asked(
    spec: EpisodeSpec,
    machines: Sequence[Machine],
    windows: Sequence[Floats],
    layout: Layout,
    score: Callable[[Vectors], Floats],
) -> list[Vectors]:
    """What the network is asked about each machine's scaled windows [n, window, channels] when it says `score`."""
    found = [np.zeros((len(each), _width(layout, each)), np.float32) for each in windows]

    def network(number: int, running: list[int], moved: Floats) -> Floats:
        here = np.stack([windows[lane][number] for lane in running]) - moved[running][:, None, :]
        rows = vectors(layout, here)
        for lane, row in zip(running, rows, strict=True):
            found[lane][number] = row
        return score(rows)

    _run(spec, machines, network)
    return found


def courses(spec: EpisodeSpec, machines: Sequence[Machine], scores: Sequence[Floats]) -> list[Course]:
    """What becomes of the machines where the network says `scores`, [n] for each of them."""

    def network(number: int, running: list[int], _moved: Floats) -> Floats:
        return np.array([scores[lane][number] for lane in running], dtype=np.float64)

    return _run(spec, machines, network)


def _run(
    spec: EpisodeSpec, machines: Sequence[Machine], network: Callable[[int, list[int], Floats], Floats]
) -> list[Course]:
    """`network` gives scores of the machines that still run, by their lanes, and by what their baselines have moved."""
    if not machines:
        return []
    healthy = [spec.of(machine.key) for machine in machines]
    episodes = Episodes(
        spec.rule, np.array([each.centre for each in healthy]), np.array([each.limits for each in healthy])
    )
    centre, factor = episodes.baseline.copy(), spec.threshold_factor / np.array([each.threshold for each in machines])
    lengths = [len(machine.means) for machine in machines]
    found = [Course(np.zeros(n, dtype=np.bool_), np.zeros((n, centre.shape[1]))) for n in lengths]
    for number in range(max(lengths)):
        running = [lane for lane, length in enumerate(lengths) if number < length]
        rows, said = np.full_like(centre, np.nan), np.full(len(machines), np.nan)
        rows[running] = [machines[lane].means[number] for lane in running]
        said[running] = network(number, running, episodes.baseline - centre)
        verdict = episodes.push(rows, said * factor)
        for lane in running:
            found[lane].is_open[number] = verdict.is_open[lane]
            found[lane].baseline[number] = episodes.baseline[lane]
    return found


def _width(layout: Layout, windows: Floats) -> int:
    _, length, channels = windows.shape
    return int(length * channels if layout == "window" else 2 * channels)
