"""Whether a model was trained on what it is judged on, as far as its manifest tells."""

from __future__ import annotations

from collections.abc import Iterable

from cloud_trainer.judging.material import Material
from cloud_trainer.tracing.models import Model
from headwater.contract import topics
from headwater.contract.manifest import Dataset


def trained_on(models: Iterable[tuple[str, Model]], material: Material) -> list[str]:
    """What of this range each of these models, by role, has learned from; nothing where they share none."""
    found = []
    for role, model in models:
        where = shared(model, material.learn.source, material.skipped)
        if where is not None:
            found.append(f"the {role} was trained on a part of this range ({where}): judge on another one")
    return found


def shared(model: Model, judged: Dataset, skipped: int = 0) -> str | None:
    """What of these data the model has learned from: their digest, or the first range that is in both; else None.

    Of recordings, which are known by the names of their files, the first `skipped` rows are not looked at.
    """
    learned = model.manifest.dataset
    where = f"dataset {learned.sha256[:12]}" if learned.sha256 == judged.sha256 else None
    return _overlap(judged, learned, skipped) if where is None or skipped else where


def _overlap(judged: Dataset, learned: Dataset, skipped: int) -> str | None:
    """The first range of readings that is in both. Of recordings the first `skipped` rows are not judged."""
    for name, of in judged.offsets.items():
        if name.removesuffix(f".{topics.BACKLOG}").endswith(f".{topics.ALARMS}"):
            continue  # all alarms there are, to leave out what they are about
        for partition, (begin, end) in of.items():
            start, stop = learned.offsets.get(name, {}).get(partition, (0, 0))
            first, last = max(start, begin + skipped), min(stop, end)
            if first < last:
                return f"{name}[{partition}], {first} to {last - 1}"
    return None
