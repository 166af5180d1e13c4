"""What models are judged on: readings of a frozen range, and what is known to have been a fault."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cloud_trainer.datasets.building import from_recordings as collected
from cloud_trainer.datasets.checks import Finding, examine
from cloud_trainer.datasets.collecting import Collected, training_set
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Series, TrainingSet
from headwater.transport.recordings import recordings

UNKNOWN, NORMAL, FAULT = -1, 0, 1
Truth = npt.NDArray[np.int8]  # of each reading: FAULT, NORMAL or UNKNOWN
_SHORT = 16  # digits of a digest that are enough to tell data apart in a table


@dataclass(frozen=True)
class Material:
    """Readings by `site/asset`, all of them and not only healthy ones, with the truth about each."""

    learn: TrainingSet
    truth: Mapping[str, Truth]
    labels_sha256: str  # of what is known; "" where nothing is
    before: Mapping[str, Series] = field(default_factory=dict)  # readings ahead of these, which are not judged
    skipped: int = 0  # rows of each recording, at its begin, that are among those
    findings: tuple[Finding, ...] = ()  # of the data checks

    @property
    def is_labelled(self) -> bool:
        """Whether faults and normal readings are known, so that hits and misses can be counted."""
        found = {int(value) for truth in self.truth.values() for value in np.unique(truth)}
        return {NORMAL, FAULT} <= found


def from_recordings(
    folder: Path, asset_class: str, site: str, rows: int | None = None, recipe: Recipe | None = None
) -> Material:
    """Recordings with the labels that they have; BadInput as `recordings` raises it."""
    found = collected(folder, asset_class, site, rows)
    learn, truth = training_set(found, Recipe()), {}
    for recording in recordings(folder):
        labels = [UNKNOWN if row.label is None else FAULT if row.label else NORMAL for row in recording.rows[:rows]]
        truth[f"{site}/{recording.asset}"] = np.array(labels, dtype=np.int8)
    return checked(with_truth(learn, truth), found, recipe or Recipe())


def checked(material: Material, found: Collected, recipe: Recipe) -> Material:
    """With what the data checks find in these very readings; what is a fault here is abnormal to them."""
    tables, truth = found.tables(), material.truth
    labels = {key: truth[key] == FAULT for key, one in tables.items() if len(truth[key]) == len(one.t)}
    return replace(material, findings=tuple(examine(tables, found.channels, labels, recipe).findings))


def with_truth(learn: TrainingSet, truth: Mapping[str, Truth]) -> Material:
    """Material of these readings; assets of which nothing is known are unknown throughout."""
    whole = {k: truth.get(k, np.full(len(one), UNKNOWN, np.int8)) for k, one in sorted(learn.series.items())}
    digest, any_known = hashlib.sha256(), False
    for key, values in whole.items():
        any_known |= bool((values != UNKNOWN).any())
        digest.update(f"{key}\0{len(values)}\0".encode() + values.tobytes())
    return Material(learn, whole, digest.hexdigest() if any_known else "")


def of_spans(learn: TrainingSet, faults: Mapping[str, Sequence[tuple[int, int]]], *, rest: int = NORMAL) -> Material:
    """Truth from spans of sensor time in ms, both ends included: inside is a fault, the `rest` of those assets is that.

    An asset without an entry is unknown: that nobody has reported a fault does not say that there was none.
    """
    truth = {}
    for key, spans in faults.items():
        if key in learn.series:
            t = learn.series[key].t
            values = np.full(len(t), rest, np.int8)
            for start, end in spans:
                values[(t >= start) & (t <= end)] = FAULT
            truth[key] = values
    return with_truth(learn, truth)


def behind(material: Material, rows: int) -> Material:
    """What is left of each asset behind its first `rows` readings, such as those that a model was trained on."""
    learn = material.learn
    series = {key: Series(one.t[rows:], one.values[rows:], one.stretch[rows:]) for key, one in learn.series.items()}
    before = {key: Series(one.t[:rows], one.values[:rows], one.stretch[:rows]) for key, one in learn.series.items()}
    truth = {key: values[rows:] for key, values in material.truth.items()}
    return replace(
        material, learn=replace(learn, series=series), truth=truth, before=before, skipped=material.skipped + rows
    )
