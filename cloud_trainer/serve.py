"""The trainer as a service: one request after another, each with exactly one outcome."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from prometheus_client import Gauge

from cloud_trainer.drift.triggers import Triggers
from cloud_trainer.job import Job
from cloud_trainer.runs import Runs
from cloud_trainer.settings import TrainerSettings
from headwater.contract import messages, topics
from headwater.contract.errors import BadInput, Permanent, Transient
from headwater.contract.messages import RetrainRequest
from headwater.contract.names import check_name
from headwater.transport import metrics
from headwater.transport.kafka import GroupReader, GroupRecord
from headwater.transport.objects import open_store
from headwater.transport.registry.publisher import Publisher
from headwater.transport.retry import retrying_sync

_log = structlog.get_logger(__name__)
_ready = Gauge("headwater_trainer_ready", "1 from when requests are read; 0 before, as while Kafka is awaited.")
_LOOK_S = 0.3
T = TypeVar("T")


def make_job(settings: TrainerSettings) -> tuple[Job, Runs]:
    """A job on real services, and its ledger."""
    runs = Runs(settings.kafka)
    store = open_store(settings.objects)
    models = Publisher(store, settings.keys, "models")
    return Job(
        settings.kafka, runs, models, settings.recipe, store, settings.parity.runtimes, settings.life_recipes
    ), runs


def make_triggers(settings: TrainerSettings, runs: Runs) -> Triggers:
    """What asks for training by itself, on real services."""
    models = Publisher(open_store(settings.objects), settings.keys, "models")
    return Triggers(settings.kafka, runs, models, settings.schedule, settings.drift)


def serve(settings: TrainerSettings) -> None:
    """Carry out requests until SIGTERM or SIGINT, the one at hand to its end; when idle, look for reasons to train.

    A request is committed to the group after its outcome is written; a crash before repeats it, and finds the outcome.
    Where a service is away, the request at hand waits for it; told to stop meanwhile, it is left to the next trainer.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    metrics.serve(settings.metrics_port, settings.metrics_address)
    job, runs = make_job(settings)
    triggers = make_triggers(settings, runs)
    try:
        _patiently(f"creating topics at {settings.kafka.brokers}", runs.prepare, stop)
        with GroupReader(settings.kafka, settings.group, [topics.RETRAIN_REQUESTS]) as reader:
            _ready.set(1)
            _log.info("ready", group=settings.group)
            due = 0.0
            while not stop.is_set():
                record = _patiently("reading requests", lambda: reader.next(_LOOK_S), stop)
                if record is not None:
                    _carry_out(job, record, stop)
                elif time.monotonic() >= due:
                    triggers.look()
                    due = time.monotonic() + settings.look_s
    except _StoppedError as error:
        _log.warning("stopped while waiting; what was at hand is left to the next trainer", waited_for=str(error))


class _StoppedError(Permanent):
    """We were told to stop while a service was away."""


def _patiently(doing: str, call: Callable[[], T], stop: threading.Event) -> T:
    """As `retrying_sync`, until `stop` is set: then _StoppedError."""

    def attempt() -> T:
        try:
            return call()
        except Transient as error:
            if stop.is_set():
                raise _StoppedError(str(error)) from error
            raise

    return retrying_sync(doing, attempt, most_s=3.0)


def _carry_out(job: Job, record: GroupRecord, stop: threading.Event) -> None:
    try:
        request = messages.decode(record.value, RetrainRequest)
        check_name(request.asset_class, "asset class")
    except BadInput as error:
        _log.error("not a request", offset=record.offset, why=str(error))
        return
    _log.info("request", request=request.request_id, asset_class=request.asset_class, reason=request.reason)
    _patiently(f"training for {request.request_id}", lambda: job.run(request), stop)
