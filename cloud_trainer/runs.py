"""The ledger of training: `training-runs` says what became of every request."""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

from headwater.contract import messages, topics
from headwater.contract.errors import BadInput, Unreachable
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport import kafka
from headwater.transport.kafka_batch import Cluster, KafkaSettings, read_records

FINAL = ("published", "failed")
T = TypeVar("T", RetrainRequest, TrainingRun)


class Runs:
    """Reads and writes requests and runs in the cloud's Kafka."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    def prepare(self) -> None:
        """Make the cloud's topics where they are missing."""
        kafka.ensure_topics(self._settings, topics.cloud_topics())

    def request(self, request: RetrainRequest) -> None:
        """Write a request; returns when it is stored."""
        kafka.send(self._settings, topics.RETRAIN_REQUESTS, request.request_id.encode(), messages.encode(request))

    def write(self, run: TrainingRun) -> None:
        """Write what became of a request."""
        kafka.send(self._settings, topics.TRAINING_RUNS, run.request_id.encode(), messages.encode(run))

    def announce(self, run: TrainingRun) -> None:
        """Tell of a published version on `model-events`, unless that was done for this request."""
        told = asyncio.run(_newest(self._settings, topics.MODEL_EVENTS, TrainingRun))
        if run.request_id in told:
            return
        kafka.send(self._settings, topics.MODEL_EVENTS, run.asset_class.encode(), messages.encode(run))

    def all(self) -> dict[str, TrainingRun]:
        """The newest run of each request, in the order of their first records."""
        return asyncio.run(_newest(self._settings, topics.TRAINING_RUNS, TrainingRun))

    def requests(self) -> dict[str, RetrainRequest]:
        """Every request that is in the log, by its id."""
        return asyncio.run(_newest(self._settings, topics.RETRAIN_REQUESTS, RetrainRequest))

    def wait(self, request_id: str, deadline_s: float) -> TrainingRun:
        """Wait for the outcome of a request; Unreachable when nobody has answered by then."""
        end = time.monotonic() + deadline_s
        while True:
            run = self.all().get(request_id)
            if run is not None and run.state in FINAL:
                return run
            if time.monotonic() > end:
                state = "nobody has taken it up" if run is None else f"it is {run.state}"
                raise Unreachable(
                    f"request {request_id} has no outcome after {deadline_s:.0f} s: {state}",
                    hint="is a trainer running? headwater train serve",
                )
            time.sleep(0.3)


async def _newest(settings: KafkaSettings, topic: str, kind: type[T]) -> dict[str, T]:
    found: dict[str, T] = {}
    async with Cluster(settings, client_id="headwater-train") as cluster:
        first = await cluster.offsets(topic, "earliest")
        for partition, end in (await cluster.offsets(topic, "latest")).items():
            async for records in read_records(cluster, topic, partition, first[partition], end):
                for record in records:
                    try:
                        one = messages.decode(record.value, kind)
                    except BadInput:
                        continue  # written by somebody else; it is no run of ours
                    found[one.request_id] = one
    return found
