"""From a request to a published model.

Order of effects: `started` on training-runs, the signed model (all at once or not at all), `published` on
training-runs, the announcement on model-events. A crash between any two leaves a request without an outcome, which is run again: a
version that was signed for this request is found by its id and not made twice.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from cloud_trainer import dataset, parity, train
from cloud_trainer.export import export
from cloud_trainer.recipe import Recipe
from cloud_trainer.runs import FINAL, Runs
from cloud_trainer.series import TrainingSet
from cloud_trainer.train import Trained
from headwater.contract.canonical import sha256
from headwater.contract.errors import Permanent
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, decode_manifest, model_path
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport import kafka
from headwater.transport.kafka_batch import Cluster, KafkaSettings

_log = structlog.get_logger(__name__)


class Models(Protocol):
    """Where models are published; `headwater.transport.registry.publisher.Publisher` is one."""

    def publish(self, files: dict[str, bytes], custom: dict[str, dict[str, Any]] | None = None) -> None:
        """Sign files, all at once or not at all."""
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

        What cannot succeed is an outcome too: `failed`, with the reason. Raises Transient when a service is away.
        """
        known = self._runs.all().get(request.request_id)
        if known is not None and known.state in FINAL:
            _log.info("request has an outcome already", request=request.request_id, state=known.state)
            return known
        began = time.monotonic()
        self._runs.write(self._outcome(request, "started"))
        try:
            manifest = self._published(request) or self._make(request)
        except Permanent as error:
            detail = f"{error}" + (f" ({error.hint})" if error.hint else "")
            run = self._outcome(request, "failed", seconds=time.monotonic() - began, detail=detail)
            self._runs.write(run)
            _log.error("training failed", request=request.request_id, why=detail)
            return run
        run = self._outcome(
            request,
            "published",
            version=manifest.version,
            sha256=manifest.sha256,
            dataset_sha256=manifest.dataset.sha256,
            records=manifest.dataset.records,
            seconds=round(time.monotonic() - began, 3),
        )
        self._runs.write(run)
        self._runs.announce(run)
        _log.info("model published", request=request.request_id, version=run.version, records=run.records)
        return run

    def _published(self, request: RetrainRequest) -> Manifest | None:
        """The version that an earlier life signed for this request."""
        for version in reversed(self._models.versions(request.asset_class)):
            manifest = decode_manifest(self._models.read(model_path(request.asset_class, version, MANIFEST_FILE)))
            if manifest.request_id == request.request_id:
                return manifest
        return None

    def _make(self, request: RetrainRequest) -> Manifest:
        learn = asyncio.run(self._dataset(request))
        trained = train.train(learn, self._recipe)
        model = export(trained.linear.weights, trained.linear.bias)
        checked = parity.check(trained, model, self._recipe.rule)
        version = max(self._models.versions(request.asset_class), default=0) + 1
        manifest = make_manifest(request, version, learn, trained, model, checked, self._recipe)
        manifest.check()
        self._models.publish(
            {
                model_path(request.asset_class, version, MODEL_FILE): model,
                model_path(request.asset_class, version, MANIFEST_FILE): manifest.encode(),
            }
        )
        return manifest

    async def _dataset(self, request: RetrainRequest) -> TrainingSet:
        async with Cluster(self._kafka, client_id="headwater-train") as cluster:
            offsets = request.offsets or await dataset.resolve(cluster, kafka.describe(self._kafka).topics)
            return await dataset.build(cluster, request.asset_class, offsets, self._recipe)

    def _outcome(self, request: RetrainRequest, state: Any, **more: Any) -> TrainingRun:
        return TrainingRun(request.request_id, request.asset_class, state, int(time.time() * 1000), **more)


def make_manifest(
    request: RetrainRequest,
    version: int,
    learn: TrainingSet,
    trained: Trained,
    model: bytes,
    checked: parity.Parity,
    recipe: Recipe,
) -> Manifest:
    """Everything that an edge must know of a model, and what it was made from."""
    return Manifest(
        asset_class=request.asset_class,
        version=version,
        sha256=sha256(model),
        size_bytes=len(model),
        features=trained.spec,
        features_digest=trained.spec.digest(),
        thresholds=trained.thresholds,
        alarm=recipe.rule,
        golden=parity.golden_vectors(trained),
        dataset=learn.source,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        request_id=request.request_id,
        algorithm=train.ALGORITHM,
        parity={checked.runtime: checked.worst},
        metrics={**trained.metrics, "windows_compared": checked.windows, "alarms_in_training": checked.alarms},
    )
