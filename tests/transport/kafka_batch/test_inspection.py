"""What brokers tell of themselves is read as Kafka writes it."""

from __future__ import annotations

import struct

import pytest

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from headwater.transport.kafka_batch.inspection import RELEASES, Versions, ask_brokers, topic_copies, versions


async def test_a_real_broker_tells_its_release(kafka: str) -> None:
    """Level 30 of metadata.version is Kafka 4.3, which the tests run."""
    (answer,) = await ask_brokers(KafkaSettings(brokers=kafka))

    assert answer.where == kafka
    assert answer.versions is not None
    assert (answer.versions.level, RELEASES[30]) == (30, "4.3-IV0")
    assert answer.versions.apis[18][0] == 0


async def test_copies_are_counted(cluster: Cluster, topic: str) -> None:
    """Topics that exist come with partitions and copies, others not at all."""
    brokers, found = await topic_copies(cluster, [topic, "no-such-topic"])

    assert brokers == 1
    assert found == {topic: (4, 1, 1)}


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (Versions({}, 19, 19), "Kafka 3.7, metadata.version 3.7-IV4 (level 19)"),
        (Versions({}, 30, 19), "Kafka 4.3, metadata.version 3.7-IV4 (level 19)"),
        (Versions({}, 99, 99), "Kafka newer than 4.4, metadata.version newer than 4.4-IV0 (level 99)"),
        (Versions({}, 30, None), "Kafka 4.3, whose cluster has agreed on no metadata.version"),
    ],
)
def test_levels_become_releases(told: Versions, sentence: str) -> None:
    """The table is Kafka's own."""
    assert told.sentence() == sentence


@pytest.mark.parametrize(
    ("fetch", "like"), [(11, "2.3 to 2.6"), (12, "2.7 to 3.0"), (16, "3.7 or 3.8"), (18, "3.8 or newer")]
)
def test_a_broker_without_features_says_what_its_calls_imply(fetch: int, like: str) -> None:
    """An answer of version 3 without tags, as ZooKeeper mode gives it."""
    body = b"\0\0" + b"\x02" + struct.pack(">hhh", 1, 0, fetch) + b"\0" + bytes(4) + b"\0"

    told = versions().answer(memoryview(body)).sentence()

    assert told.startswith("tells no release")
    assert f"Fetch up to version {fetch} is what Kafka {like} speaks" in told


def test_an_old_broker_answers_in_the_oldest_form() -> None:
    """Error 35 comes with an answer of version 0 (KIP-511)."""
    body = struct.pack(">hihhh", 35, 1, 1, 0, 10)

    assert versions().answer(memoryview(body)).apis == {1: (0, 10)}


def test_half_an_answer_is_malformed() -> None:
    """Whatever is cut off, the error is ours."""
    with pytest.raises(BadInput):
        versions().answer(memoryview(b"\0\0\x05\0\0"))
