"""Kafka's error codes: the right names, and the error of ours that each becomes."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from headwater.contract.errors import (
    BadInput,
    DataMissing,
    Fenced,
    HeadwaterError,
    Permanent,
    Refused,
    Transient,
    Unreachable,
)
from headwater.transport.kafka_batch import codes


def test_names_are_those_of_another_client() -> None:
    """Every name that librdkafka has for a code agrees with ours (its own abbreviations apart)."""
    theirs = {code: KafkaError(code).name() for code in range(94)}
    different = {code for code in theirs.keys() & codes.NAMES.keys() if theirs[code] != codes.NAMES[code]}
    assert different == {0, 2, 3, 4, 6, 10, 11, 17}  # librdkafka abbreviates these or has their old names


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, DataMissing),
        (2, Transient),
        (3, Transient),
        (6, Transient),
        (10, BadInput),
        (13, Unreachable),
        (14, Transient),
        (29, Refused),
        (45, Transient),
        (47, Fenced),
        (51, Transient),
        (53, Refused),
        (58, Refused),
        (90, Fenced),
        (-1, Permanent),
        (99, Permanent),
        (4711, Permanent),
    ],
)
def test_each_code_becomes_an_error_of_ours(code: int, kind: type[HeadwaterError]) -> None:
    """The kind decides whether trying again may help; the message carries number, name and place."""
    error = codes.failure(code, "writing to t[0]", "because")
    assert type(error) is kind
    assert str(error).startswith(f"writing to t[0]: Kafka answers {code} ")
    assert isinstance(error, Transient) == codes.retriable(code)


def test_zero_is_no_error() -> None:
    """`check` lets 0 pass."""
    codes.check(0, "anything")
    with pytest.raises(Fenced):
        codes.check(90, "anything")
