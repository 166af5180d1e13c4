"""Storing labels and telling anew what is known of the alarms."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog

from cloud_trainer.labels import reading, store, words
from cloud_trainer.labels.joining import Restated, episodes, restate
from cloud_trainer.runs import Runs
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.tracing.finding import published
from cloud_trainer.tracing.models import find_published
from headwater.contract.canonical import digest
from headwater.contract.errors import HeadwaterError
from headwater.contract.labels import Label
from headwater.contract.messages import RetrainRequest

_log = structlog.get_logger(__name__)


class Told(NamedTuple):
    """Orders in the file and new ones among them, what is known of the alarms, and the request if one was made."""

    read: int
    new: int
    restated: list[Restated]
    request_id: str
    words: int = 0  # of operators, on alarms that are known
    new_words: int = 0
    failures: int = 0  # that plants told with an overhaul
    new_failures: int = 0

    def as_json(self) -> dict[str, Any]:
        """With the shares that follow from the counts."""
        shares = ("precision", "recall", "known_share")
        restated = [
            {**msgspec.to_builtins(one), **{name: getattr(one, name) for name in shares}} for one in self.restated
        ]
        counts = {"read": self.read, "new": self.new, "words": self.words, "new_words": self.new_words}
        counts |= {"failures": self.failures, "new_failures": self.new_failures}
        return {**counts, "restated": restated, "request_id": self.request_id or None}


def carry_out(settings: TrainerSettings, file: Path | None, asset_class: str, *, retrain: bool, dry_run: bool) -> Told:
    """Store the orders of a file, join everything, and ask for a model if wanted."""
    orders = reading.read(file) if file is not None else []
    runs = Runs(settings.kafka)
    if not dry_run:
        runs.prepare()
    new = 0 if dry_run else store.write(settings.kafka, orders)
    alarms = store.alarms(settings.kafka)
    found = episodes(alarms)
    heard = words.read(settings.kafka, alarms)
    said = words.as_labels(heard.words, found)
    new_words = 0 if dry_run else store.write(settings.kafka, said)
    stored = store.read(settings.kafka)
    known = {label.key for label in stored}
    failed = [one for one in heard.failures if one.key not in known]  # what stood before it may be gone by now
    new_failures = 0 if dry_run else store.write(settings.kafka, failed)
    labels = _with(stored, [*orders, *said, *failed])
    classes = [asset_class] if asset_class else sorted({one.asset_class for one in found})
    lead_ms = int(settings.label_lead_s * 1000)
    restated = [one for name in classes for one in restate(name, found, labels, lead_ms, _assets(settings, name))]
    request_id = ""
    if retrain:
        request_id = request_of(asset_class, labels)
        if not dry_run and request_id not in runs.requests():
            why = f"labels arrived: {new} new orders, {new_words} new words of operators, {new_failures} new failures"
            why += f", {len(labels)} in all"
            runs.request(RetrainRequest(request_id, asset_class, None, getpass.getuser(), why))
    return Told(len(orders), new, restated, request_id, len(said), new_words, len(heard.failures), new_failures)


def _assets(settings: TrainerSettings, asset_class: str) -> list[str]:
    """The assets that the newest version has thresholds for: a fault counts as missed also where no alarm ever was."""
    try:
        manifest = find_published(published(settings), asset_class).manifest
    except HeadwaterError as error:
        _log.warning("faults of assets that never raised an alarm are not counted", why=str(error))
        return []
    return [key for key in manifest.thresholds if key]


def _with(stored: list[Label], orders: list[Label]) -> list[Label]:
    by_key = {label.key: label for label in [*stored, *orders]}
    return [by_key[key] for key in sorted(by_key)]


def request_of(asset_class: str, labels: list[Label]) -> str:
    """Id of the request for a model after these labels: the same labels ask once."""
    said = sorted((label.key, label.t_from, label.t_to, label.kind) for label in labels)
    return f"labels-{asset_class}-{digest([list(one) for one in said])[:12]}"
