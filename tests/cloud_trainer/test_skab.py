"""Real recordings (SKAB): what a model of the first 400 rows says of the rest. Reported, not tuned to."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cloud_trainer.datasets.building import from_folder
from cloud_trainer.making import make
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Series, cut, vectors
from headwater.contract.alarm import AlarmState, step
from headwater.transport.recordings import Recording, recordings

DATA = Path(os.environ.get("HEADWATER_DATA") or Path(__file__).parents[2].parent / "shared" / "data") / "skab" / "data"
LEARN = 400  # rows, as in SKAB's own protocol
NEAR = 30  # rows after a label's end in which an alarm that opens is not called false


def columns(recording: Recording, channels: tuple[str, ...]) -> Series:
    t = np.array([row.t for row in recording.rows], dtype=np.int64)
    values = [[np.nan if row.values[c] is None else row.values[c] for c in channels] for row in recording.rows]
    return Series(t, np.array(values, dtype=np.float64), np.zeros(len(t), np.int64))


@pytest.mark.skipif(not DATA.is_dir(), reason="the SKAB recordings are not beside this checkout")
def test_real_recordings_are_judged_causally_and_reported() -> None:
    """Prints hits, misses and false alarms beside always-alarm; a third of the faults and few false alarms at least."""
    made = make(from_folder(DATA, "rig", "lyon", LEARN), Recipe())
    trained, recipe = made.trained, made.recipe
    counts = np.zeros(4, int)  # rows: alarm and label, alarm only, label only, neither
    found = false = files = 0
    for recording in recordings(DATA):
        if recording.rows[0].label is None:
            continue
        files += 1
        key = f"lyon/{recording.asset}"
        windows = cut(columns(recording, trained.spec.channels), trained.spec.channels, trained.spec.channels, recipe)
        scores = trained.detector.score(vectors(trained.spec, key, windows))[0]
        labels = np.array([bool(row.label) for row in recording.rows])
        state, alarm = AlarmState(), np.zeros(len(labels), dtype=bool)
        for row, score in zip(windows.last_row, scores, strict=True):
            state, transition = step(recipe.rule, state, float(score), trained.thresholds[key], "episode")
            alarm[row:] = bool(state.episode)
            if transition is not None and transition.kind == "opened" and row >= LEARN:
                false += not labels[max(row - NEAR, 0) : row + 1].any()
        alarm, labels = alarm[LEARN:], labels[LEARN:]
        counts += [(alarm & labels).sum(), (alarm & ~labels).sum(), (~alarm & labels).sum(), (~alarm & ~labels).sum()]
        found += bool((alarm & labels).any())
    hit, wrong, missed, quiet = counts.tolist()
    always = (hit + missed) / (hit + missed + (wrong + quiet) / 2)
    print(f"{files} recordings, {found} faults found, {false} false alarms")
    print(
        f"rows: F1 {hit / (hit + (wrong + missed) / 2):.3f}, false alarm rate {wrong / (wrong + quiet):.1%}, ", end=""
    )
    print(f"missed {missed / (hit + missed):.1%}; always-alarm: F1 {always:.3f}, 100 %, 0 %")
    assert found >= files // 3
    assert false <= 3
    assert wrong / (wrong + quiet) < 0.2
