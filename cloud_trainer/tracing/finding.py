"""Where models, requests and records are looked up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import structlog

from cloud_trainer.runs import Runs
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.tracing import models, words
from cloud_trainer.tracing.ended import ended_by
from cloud_trainer.tracing.lineage import Again, Cause, again, cause_of, found_at
from cloud_trainer.tracing.models import Model
from headwater.contract import messages
from headwater.contract.errors import BadInput, DataMissing, HeadwaterError, Transient
from headwater.contract.messages import Alarm, RetrainRequest, TrainingRun
from headwater.transport import kafka
from headwater.transport.kafka_batch import Cluster
from headwater.transport.objects import open_store
from headwater.transport.registry.publisher import Publisher

_log = structlog.get_logger(__name__)


def published(settings: TrainerSettings) -> Publisher:
    """The repository of signed models."""
    return Publisher(open_store(settings.objects), settings.keys, "models")


def found(settings: TrainerSettings, name: str) -> Model:
    """The model that people call `name`; BadInput where there is none."""
    if models.is_folder(name):
        return models.from_folder(Path(name))
    return models.find_published(published(settings), name)


def history(settings: TrainerSettings, request_id: str) -> tuple[RetrainRequest | None, TrainingRun | None]:
    """What was asked for and what became of it, or None where the log does not say or does not answer."""
    runs = Runs(settings.kafka)
    try:
        return runs.requests().get(request_id), runs.all().get(request_id)
    except (Transient, BadInput) as error:
        _log.warning("what was requested is not told", why=str(error))
        return None, None


def trace(
    settings: TrainerSettings, asked: str, folder: Path | None, site: str
) -> tuple[dict[str, Any], HeadwaterError | None]:
    """Everything behind an alarm; the error where its readings are gone, so that what is known is shown before it."""
    return asyncio.run(_trace(settings, asked, folder, site))


async def _trace(
    settings: TrainerSettings, asked: str, folder: Path | None, site: str
) -> tuple[dict[str, Any], HeadwaterError | None]:
    async with Cluster(settings.kafka, client_id="headwater-train") as cluster:
        names = await asyncio.to_thread(kafka.topic_names, settings.kafka)
        place, record = await found_at(cluster, names, asked)
        ended = await ended_by(cluster, names, place, record)
        if ended is None:
            cause = await cause_of(cluster, names, place, record, site)
            return await _trace_cause(settings, cluster, names, cause, folder)
        alarm = messages.decode(record.value, Alarm)
        known = words.ended(alarm, place, ended)
        try:
            opening = await found_at(cluster, names, alarm.episode)
            cause = await cause_of(cluster, names, *opening)
            told, gone = await _trace_cause(settings, cluster, names, cause, folder)
        except HeadwaterError as error:
            return known, DataMissing(f"what ended it is known, what opened it is not: {error}", hint=error.hint)
        return {**told, **known, "opened": told["alarm"]}, gone


async def _trace_cause(
    settings: TrainerSettings, cluster: Cluster, names: list[str], cause: Cause, folder: Path | None
) -> tuple[dict[str, Any], HeadwaterError | None]:
    model = await asyncio.to_thread(_model, settings, cause, folder)
    gone: HeadwaterError | None = None
    once_more: Again | None = None
    try:
        once_more = await again(cluster, names, cause, model)
    except DataMissing as error:
        gone = error
    return words.traced(cause, words.explained(model, None, None), once_more), gone


def _model(settings: TrainerSettings, cause: Cause, folder: Path | None) -> Model:
    if folder is not None:
        return models.from_folder(folder)
    return models.from_published(published(settings), cause.score.asset_class, cause.score.version)
