"""From a request to a published model.

Order of effects: `started` on training-runs, the signed model (all at once or not at all), the announcement on
model-events, `published` on training-runs. A crash between any two leaves a request without an outcome, which is run
again: a version that was signed for this request is found by its id and not made twice, nor announced twice.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

import structlog
from prometheus_client import Counter, Histogram

from cloud_trainer import dataset
from cloud_trainer.making import Made, make, make_manifest
from cloud_trainer.recipe import Recipe
from cloud_trainer.runs import FINAL, Runs
from cloud_trainer.series import TrainingSet
from headwater.contract.errors import Permanent
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, decode_manifest, model_path
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport import kafka
from headwater.transport.kafka_batch import Cluster, KafkaSettings

_log = structlog.get_logger(__name__)
_outcomes = Counter("headwater_trainer_runs_total", "Requests carried out, by outcome", ["state"])
_seconds = Histogram("headwater_trainer_run_seconds", "Time from a request being taken up to its outcome")


class Models(Protocol):
    """Where models are published; `headwater.transport.registry.publisher.Publisher` is one."""

    def publish(self, files: dict[str, bytes], custom: dict[str, dict[str, Any]] | None = None) -> None:
        """Sign files, all at once or not at all; Conflict when a path is signed with other bytes."""
        ...

    def versions(self, asset_class: str) -> list[int]:
        """Published versions, lowest first."""
        ...

    def read(self, path: str) -> bytes:
        """Content of a signed file."""
        ...


class Job:
    """Carries out requests."""

    def __init__(self, settings: KafkaSettings, runs: Runs, models: Models, recipe: Recipe) -> None:
        self._kafka, self._runs, self._models, self._recipe = settings, runs, models, recipe

    def run(self, request: RetrainRequest) -> TrainingRun:
        """The outcome of a request, which is carried out unless it has one already.

        What cannot succeed is an outcome too: `failed`, with the reason. Raises Transient when a service is away, or
        another trainer took the version's number; calling again goes on from there.
        """
        known = self._runs.all().get(request.request_id)
        if known is not None and known.state in FINAL:
            _log.info("request has an outcome already", request=request.request_id, state=known.state)
            return known
        began = time.monotonic()
        self._runs.write(_outcome(request, "started"))
        try:
            manifest = self._published(request) or self._publish(request)
        except Permanent as error:
            detail = f"{error}" + (f" ({error.hint})" if error.hint else "")
            run = _outcome(request, "failed", seconds=round(time.monotonic() - began, 3), detail=detail)
            _log.error("training failed", request=request.request_id, why=detail)
        else:
            run = _success(request, manifest, time.monotonic() - began)
            self._runs.announce(run)
            _log.info("model published", request=request.request_id, version=run.version, records=run.records)
        self._runs.write(run)
        _outcomes.labels(run.state).inc()
        _seconds.observe(run.seconds)
        return run

    def _published(self, request: RetrainRequest) -> Manifest | None:
        """The version that an earlier life signed for this request."""
        for version in reversed(self._models.versions(request.asset_class)):
            manifest = decode_manifest(self._models.read(model_path(request.asset_class, version, MANIFEST_FILE)))
            if manifest.request_id == request.request_id:
                return manifest
        return None

    def _publish(self, request: RetrainRequest) -> Manifest:
        made = make_from(self._kafka, request, self._recipe)
        version = max(self._models.versions(request.asset_class), default=0) + 1
        manifest = make_manifest(request.request_id, version, made)
        self._models.publish(
            {
                model_path(request.asset_class, version, MODEL_FILE): made.model,
                model_path(request.asset_class, version, MANIFEST_FILE): manifest.encode(),
            }
        )
        return manifest


def make_from(settings: KafkaSettings, request: RetrainRequest, recipe: Recipe) -> Made:
    """Read the range of a request, train, export and compare, publishing nothing.

    Raises DataMissing, BadInput, Refused (the range), GateFailed (the model), Transient (the cluster).
    """
    learn = asyncio.run(_dataset(settings, request, recipe))
    _log.info("dataset read", records=learn.source.records, left_out=learn.source.excluded)
    made = make(learn, recipe)
    _log.info("trained and compared", windows=made.parity.windows, worst=made.parity.worst)
    return made


async def _dataset(settings: KafkaSettings, request: RetrainRequest, recipe: Recipe) -> TrainingSet:
    async with Cluster(settings, client_id="headwater-train") as cluster:
        offsets = request.offsets
        if offsets is None:
            names = await asyncio.to_thread(kafka.topic_names, settings)
            offsets = await dataset.resolve(cluster, names, recipe.most_records)
        return await dataset.build(cluster, request.asset_class, offsets, recipe)


def _success(request: RetrainRequest, manifest: Manifest, seconds: float) -> TrainingRun:
    return _outcome(
        request,
        "published",
        version=manifest.version,
        sha256=manifest.sha256,
        dataset_sha256=manifest.dataset.sha256,
        records=manifest.dataset.records,
        seconds=round(seconds, 3),
    )


def _outcome(request: RetrainRequest, state: Any, **more: Any) -> TrainingRun:
    return TrainingRun(request.request_id, request.asset_class, state, int(time.time() * 1000), **more)
