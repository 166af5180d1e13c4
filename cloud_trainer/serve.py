"""The trainer as a service: one request after another, each with exactly one outcome."""

from __future__ import annotations

import signal
import threading

import structlog

from cloud_trainer.job import Job
from cloud_trainer.runs import Runs
from cloud_trainer.settings import TrainerSettings
from headwater.contract import messages, topics
from headwater.contract.errors import BadInput
from headwater.contract.messages import RetrainRequest
from headwater.transport import metrics
from headwater.transport.kafka import GroupReader
from headwater.transport.objects import open_store
from headwater.transport.registry.publisher import Publisher
from headwater.transport.retry import retrying_sync

_log = structlog.get_logger(__name__)
_LOOK_S = 0.3


def make_job(settings: TrainerSettings) -> tuple[Job, Runs]:
    """A job on real services, and its ledger."""
    runs = Runs(settings.kafka)
    models = Publisher(open_store(settings.objects), settings.keys, "models")
    return Job(settings.kafka, runs, models, settings.recipe), runs


def serve(settings: TrainerSettings) -> None:
    """Carry out requests until SIGTERM or SIGINT; the one at hand is finished first.

    A request is committed to the group after its outcome is written; a crash before repeats it, and finds the outcome.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    metrics.serve(settings.metrics_port)
    job, runs = make_job(settings)
    retrying_sync(f"creating topics at {settings.kafka.brokers}", runs.prepare)
    with GroupReader(settings.kafka, settings.group, [topics.RETRAIN_REQUESTS]) as reader:
        _log.info("ready", group=settings.group)
        while not stop.is_set():
            record = reader.next(_LOOK_S)
            if record is None:
                continue
            try:
                request = messages.decode(record.value, RetrainRequest)
            except BadInput as error:
                _log.error("not a request", offset=record.offset, why=str(error))
                continue
            _log.info("request", request=request.request_id, asset_class=request.asset_class, reason=request.reason)
            retrying_sync(f"training for {request.request_id}", lambda: job.run(request))  # noqa: B023  # called at once
