"""From a request to a published model.

Order of effects: `started` on training-runs, what the judge says against the version before, the signed model (all at
once or not at all), the announcement on model-events, `published` on training-runs. A crash between any two leaves a
request without an outcome, which is run again: a version that was signed for this request is found by its id and not
made twice, nor announced twice; a decision may be written twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import structlog
from prometheus_client import Counter, Histogram

from cloud_trainer.datasets import building, checks
from cloud_trainer.datasets.collecting import Collected
from cloud_trainer.judging import gate
from cloud_trainer.judging.decision import Decision
from cloud_trainer.life.choosing import check_installed, recipe_of
from cloud_trainer.life.recipe import LifeRecipe
from cloud_trainer.making import Made, certified, make, make_manifest
from cloud_trainer.recipe import Recipe
from cloud_trainer.runs import FINAL, Runs
from cloud_trainer.tracing.models import Published, manifests
from headwater.contract.errors import BadInput, Defect, HeadwaterError, Permanent
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, model_path
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport.kafka_batch import KafkaSettings
from headwater.transport.objects import ObjectStore

_log = structlog.get_logger(__name__)
_outcomes = Counter("headwater_trainer_runs_total", "Requests carried out, by outcome", ["state"])
_seconds = Histogram("headwater_trainer_run_seconds", "Time from a request being taken up to its outcome")


class Models(Published, Protocol):
    """Where models are published; `headwater.transport.registry.publisher.Publisher` is one."""

    def publish(self, files: dict[str, bytes], custom: dict[str, dict[str, Any]] | None = None) -> None:
        """Sign files, all at once or not at all; Conflict when a path is signed with other bytes."""
        ...


class Product(NamedTuple):
    """A certified model of either kind: its bytes, its manifest by version, and what the judge says of that."""

    data: bytes
    manifest: Callable[[int], Manifest]
    judged: Callable[[Manifest], Decision | None]


class Job:
    """Carries out requests."""

    def __init__(
        self,
        settings: KafkaSettings,
        runs: Runs,
        models: Models,
        recipe: Recipe,
        store: ObjectStore | None = None,
        runtimes: Sequence[Path] = (),
        life: Mapping[str, LifeRecipe] | None = None,
    ) -> None:
        """`store` is where frozen datasets are; without one a request for such a dataset fails.

        `runtimes` are interpreters whose runtimes must be certified for a model (`certified`). Of a class in `life`, or
        whose newest version says what remains of a life, the next model says so too.
        """
        self._kafka, self._runs, self._models, self._recipe = settings, runs, models, recipe
        self._store, self._runtimes, self._life = store, runtimes, life or {}

    def run(self, request: RetrainRequest) -> TrainingRun:
        """The outcome of a request, which is carried out unless it has one already.

        What cannot succeed is an outcome too: `failed`, with the reason; so is what nobody has thought of, with its
        traceback in the log, so that one request does not end the service. Raises Transient when a service is away, or
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
        except (Permanent, Defect) as error:
            detail = f"{error}" + (f" ({error.hint})" if error.hint else "")
            run = _outcome(request, "failed", seconds=round(time.monotonic() - began, 3), detail=detail)
            _log.error("training failed", request=request.request_id, why=detail, exc_info=isinstance(error, Defect))
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
        there = manifests(self._models, request.asset_class)
        return next((one for one in there if one.request_id == request.request_id), None)

    def _publish(self, request: RetrainRequest) -> Manifest:
        made = self._made(request)
        version = max(self._models.versions(request.asset_class), default=0) + 1
        manifest = made.manifest(version)
        decision = made.judged(manifest)
        if decision is not None:
            self._runs.write(decision.as_run())
            manifest = gate.consented(decision, manifest)
        self._models.publish(
            {
                model_path(request.asset_class, version, MODEL_FILE): made.data,
                model_path(request.asset_class, version, MANIFEST_FILE): manifest.encode(),
            }
        )
        return manifest

    def _made(self, request: RetrainRequest) -> Product:
        """A certified model; Defect where making it ends in a way that nobody has thought of."""
        try:
            life = recipe_of(self._models, request.asset_class, self._life)
            return self._detector(request) if life is None else self._of_lives(request, life)
        except HeadwaterError:
            raise
        except Exception as error:  # the outermost door of a request: its data may hold what nobody has thought of
            raise Defect(f"training ended with {type(error).__name__}: {error}") from error

    def _detector(self, request: RetrainRequest) -> Product:
        made = certified(make_from(self._kafka, request, self._recipe, self._store), self._runtimes)
        return Product(
            made.model,
            lambda version: make_manifest(request.request_id, version, made),
            lambda manifest: gate.judged(self._models, made.learn, manifest, made.model),
        )

    def _of_lives(self, request: RetrainRequest, life: LifeRecipe) -> Product:
        check_installed()
        from cloud_trainer.life import making, requests  # noqa: PLC0415  what they need is in the extra `train`

        found = collected(self._kafka, request, self._recipe, self._store)
        made = requests.make_from(found, self._recipe, life, self._runtimes)
        return Product(
            made.data,
            lambda version: making.make_manifest(request.request_id, version, made),
            lambda manifest: requests.judged(self._models, made, manifest),
        )


def make_from(
    settings: KafkaSettings, request: RetrainRequest, recipe: Recipe, store: ObjectStore | None = None
) -> Made:
    """Read the range or the frozen dataset of a request, check it, train, export and compare, publishing nothing.

    Raises DataMissing, BadInput, Refused, Untrusted (the dataset), GateFailed (its checks, the model), Transient (the
    cluster, the store).
    """
    learn = checks.fit_to_learn(collected(settings, request, recipe, store), recipe)
    _log.info("dataset read", records=learn.source.records, left_out=learn.source.excluded)
    made = make(learn, recipe)
    _log.info("trained and compared", windows=made.parity.windows, worst=made.parity.worst)
    return made


def collected(settings: KafkaSettings, request: RetrainRequest, recipe: Recipe, store: ObjectStore | None) -> Collected:
    """All that is in the range or the frozen dataset of a request; raises as `make_from` does for the dataset."""
    if request.dataset is None or request.offsets is not None:
        found = building.from_kafka(settings, request.asset_class, request.offsets, recipe)
        building.expect_digest(found, request.dataset)
        return found
    if store is None:
        raise BadInput(f"there is no store to read the frozen dataset {request.dataset} from")
    return building.from_store(store, request.dataset, request.asset_class, recipe)


def _success(request: RetrainRequest, manifest: Manifest, seconds: float) -> TrainingRun:
    return _outcome(
        request,
        "published",
        version=manifest.version,
        sha256=manifest.sha256,
        dataset_sha256=manifest.dataset.sha256,
        records=manifest.dataset.records,
        seconds=round(seconds, 3),
        detail=gate.against(manifest),
    )


def _outcome(request: RetrainRequest, state: Any, **more: Any) -> TrainingRun:
    return TrainingRun(request.request_id, request.asset_class, state, int(time.time() * 1000), **more)
