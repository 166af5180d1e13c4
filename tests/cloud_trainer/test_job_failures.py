"""What nobody has thought of ends one request, and not the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from cloud_trainer.job import Job
from cloud_trainer.recipe import Recipe
from cloud_trainer.runs import Runs
from headwater.contract.errors import Unreachable
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport.kafka_batch import KafkaSettings
from headwater.transport.objects import MemoryStore

REQUEST = RetrainRequest("odd-1", "pump", None, "test", "because", dataset="0" * 64)


class Ledger(Runs):
    """Runs that are kept in memory."""

    def __init__(self) -> None:
        super().__init__(KafkaSettings(brokers="127.0.0.1:1"))
        self.written: list[TrainingRun] = []

    def all(self) -> dict[str, TrainingRun]:
        return {each.request_id: each for each in self.written}

    def write(self, run: TrainingRun) -> None:
        self.written.append(run)


class Nothing:
    """A repository without a version."""

    def versions(self, asset_class: str) -> Sequence[int]:
        return []


class Odd(MemoryStore):
    """A store whose objects raise what nobody has thought of."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def get(self, key: str, **_: Any) -> Any:
        raise self._error


def job(ledger: Ledger, error: Exception) -> Job:
    return Job(KafkaSettings(brokers="127.0.0.1:1"), ledger, Nothing(), Recipe(), Odd(error))  # type: ignore[arg-type]  # only versions are asked for


def test_what_nobody_has_thought_of_is_a_failed_request() -> None:
    """A TypeError while a dataset is read is the outcome `failed`, told once, with its traceback; not the end."""
    ledger = Ledger()
    with capture_logs() as logs:
        run = job(ledger, TypeError("bad operand")).run(REQUEST)
    assert (run.state, run.detail) == ("failed", "training ended with TypeError: bad operand")
    assert [each.state for each in ledger.written] == ["started", "failed"]
    assert [each["exc_info"] for each in logs if each["event"] == "training failed"] == [True]


def test_a_service_that_is_away_is_no_outcome() -> None:
    """Transient errors still come out, so that the request is carried out later."""
    ledger = Ledger()
    with pytest.raises(Unreachable):
        job(ledger, Unreachable("away")).run(REQUEST)
    assert [each.state for each in ledger.written] == ["started"]
