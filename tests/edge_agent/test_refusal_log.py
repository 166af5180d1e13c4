"""What the log says of refused messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from structlog.testing import capture_logs

from edge_agent.bridge.tally import Tally
from edge_agent.refusal_log import EVERY_S, RefusalLog
from edge_agent.scorer.judge import Judge
from edge_agent.scorer.ledger import Ledger
from edge_agent.scorer.metrics import Counts
from edge_agent.scorer.partition import Partition
from headwater.contract import topics
from headwater.transport.kafka_batch.records import Record


def test_one_line_in_ten_seconds_a_reason_with_the_count() -> None:
    """A flood of one reason is a line at once and one later; another reason has a line of its own."""
    now = [100.0]
    told = RefusalLog(lambda: now[0])
    with capture_logs() as lines:
        for n in range(500):
            told.note("bad-payload", f"line {n}")
        told.note("bad-time", "no time")
        now[0] += EVERY_S
        told.note("bad-payload", "the last")

    found = [(line["log_level"], line["reason"], line["why"], line["count"]) for line in lines]
    assert found == [
        ("warning", "bad-payload", "line 0", 1),
        ("warning", "bad-time", "no time", 1),
        ("warning", "bad-payload", "the last", 500),
    ]


def test_the_bridge_logs_what_it_refuses() -> None:
    """Once for many, with the reason apart from the words, and from where it came."""
    tally = Tally(["one"], lambda _: "one")
    with capture_logs() as lines:
        for n in range(3):
            tally.refused("one", "bad-name: 'P 1': no name", b"lyon/pump/P %d" % n)

    found = [(line["reason"], line["why"], line["route"], line["mqtt_topic"]) for line in lines]
    assert found == [("bad-name", "'P 1': no name", "one", "lyon/pump/P 0")]


def test_the_newest_refusal_is_known_though_the_log_is_silent() -> None:
    """The last error is the last one: with its route and its MQTT topic, of which a long one is cut."""
    tally = Tally(["one"], lambda _: "one")
    assert tally.last_refusal.at_ms == 0
    tally.refused("one", "bad-payload: first", b"lyon/pump/p1")
    tally.refused("one", "bad-payload: second", b"lyon/pump/" + b"p" * 60_000)

    says = tally.last_refusal.says
    assert says.startswith("to dead-letters: bad-payload: second (route one, topic lyon/pump/ppp")
    assert len(says) < 400


class Takes:
    """A writer that acknowledges everything."""

    async def write(self, topic: str, partition: int, outs: Sequence[Any]) -> int:
        return 0


async def test_the_scorer_logs_what_it_refuses() -> None:
    """Once for many, with the place of the first."""
    partition = Partition(2, tails=dict.fromkeys((topics.DEAD_LETTERS, topics.SCORES, topics.ALARMS), -1))
    records = [Record(offset, 0, b"p1", b"31.2", ()) for offset in (7, 8)]
    verdicts = Judge("lyon", {}).judge(partition, records, 0)
    ledger = Ledger(Takes(), "test", Counts())  # type: ignore[arg-type]  # a Writer needs a cluster
    with capture_logs() as lines:
        await ledger.settle([(partition, verdicts)], 0)

    [line] = lines
    assert line["why"].startswith("readings[2], offset 7: ")
