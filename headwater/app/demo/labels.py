"""What the labels of recordings say about the alarms: used only here, at the end, and by no model.

A labelled reading counts from the first window that a model scored. F1 = TP / (TP + (FN + FP) / 2) over readings; a
reading is called abnormal while an episode of its asset is open.
"""

from __future__ import annotations

from collections.abc import Iterator

from headwater.app.demo.evidence import Asset, Episode
from headwater.app.demo.promises import told
from headwater.app.demo.scenario import Scenario
from headwater.app.plant.publisher import Machine
from headwater.contract.figures import Figure

Span = tuple[int, int]


def labelled_spans(scenario: Scenario) -> dict[Asset, list[Span]]:
    """The labelled faults of every recording as spans of sensor time."""
    return {
        (m.site, m.asset): list(_spans(rows)) for m, rows in scenario.plan.labels.items() if any(a for _, a in rows)
    }


def _spans(rows: list[tuple[int, bool]]) -> Iterator[Span]:
    start: int | None = None
    for t, abnormal in rows:
        if abnormal and start is None:
            start = t
        elif not abnormal and start is not None:
            yield start, t
            start = None
    if start is not None:
        yield start, rows[-1][0]


def _episodes(episodes: list[Episode], machine: Machine, end: int) -> list[Span]:
    opened: dict[str, int] = {}
    spans = []
    for episode in episodes:
        alarm = episode.alarm
        if (alarm.site, alarm.asset) != (machine.site, machine.asset):
            continue
        if alarm.state == "opened":
            opened[alarm.episode] = alarm.t
        else:
            spans.append((opened.pop(alarm.episode, alarm.t), alarm.t))
    return spans + [(t, end) for t in opened.values()]


def label_figures(scenario: Scenario, seen: list[Episode]) -> list[Figure]:
    """Hits, misses, alarms outside, F1, beside an alarm that is always on. None of them has a goal."""
    hits = misses = outside = tp = fp = fn = abnormal = total = 0
    for machine, rows in scenario.plan.labels.items():
        judged = rows[scenario.plan.healthy :]
        if not judged:
            continue
        faults = list(_spans(judged))
        episodes = _episodes(seen, machine, rows[-1][0] + 1)
        inside = [any(start <= t < end for start, end in faults) for t, _ in episodes]
        hit = any(a < end and start < b for a, b in faults for start, end in episodes)
        hits += bool(faults) and hit
        misses += bool(faults) and not hit
        outside += inside.count(False)
        for t, label in judged:
            alarm = any(start <= t < end for start, end in episodes)
            tp, fp, fn = tp + (alarm and label), fp + (alarm and not label), fn + (label and not alarm)
            abnormal, total = abnormal + label, total + 1
    f1 = tp / (tp + (fn + fp) / 2) if tp else 0.0
    always = abnormal / (abnormal + (total - abnormal) / 2) if abnormal else 0.0
    protocol = f"causal; trained on the first {scenario.plan.healthy} rows; {total:,} labelled readings judged"
    return [
        told("demo.hits", hits, "count"),
        told("demo.misses", misses, "count"),
        told("demo.alarms_outside", outside, "count"),
        told("demo.f1", round(f1, 3), "", protocol),
        told("demo.f1_always", round(always, 3), ""),
    ]
