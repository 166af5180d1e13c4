"""Making a card and its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cloud_trainer.cards import life as lives
from cloud_trainer.cards.evidence import gather
from cloud_trainer.cards.facts import facts
from cloud_trainer.cards.page import page
from cloud_trainer.cards.plots import Picture, pictures
from cloud_trainer.judging.asked import Range, readings
from cloud_trainer.progress import bar
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.tracing.finding import history
from cloud_trainer.tracing.models import Model
from headwater.transport.files import replace_durably

CARD_FILE, PAGE_FILE = "card.json", "card.html"


def make(
    settings: TrainerSettings, model: Model, where: Range, predictions: Path | None
) -> tuple[dict[str, Any], list[Picture]]:
    """The card of a model on these readings, and its pictures."""
    life = lives.read(predictions) if predictions is not None else None
    material = readings(settings, model, where)
    with bar("looking at assets", len(material.learn.series)) as tell:
        evidence = gather(model, material, tell)
    request, run = (None, None) if model.folder else history(settings, model.manifest.request_id)
    drawn = pictures(evidence, life)
    told = facts(evidence, life, request, run)
    told["pictures"] = [{"file": f"{one.name}.png", "title": one.title, "text": one.text} for one in drawn]
    return told, drawn


def write(told: dict[str, Any], drawn: list[Picture], out: Path) -> list[str]:
    """Put card.json, card.html and the pictures into a folder, the page last; their names."""
    files = {f"{one.name}.png": one.data for one in drawn}
    files[CARD_FILE] = (json.dumps(told, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    files[PAGE_FILE] = page(told, drawn)
    for name, data in files.items():
        replace_durably(out / name, data)
    return list(files)
