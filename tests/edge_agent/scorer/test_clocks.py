"""Sensors' clocks and the scorer: windows follow the log, and a wrong clock is its asset's own affair."""

from __future__ import annotations

import random

import msgspec

from headwater.contract import headers, reading, topics
from headwater.contract.messages import Alarm, Score
from headwater.contract.messages import decode as decode_message
from headwater.transport.kafka_batch import Record
from tests.edge_agent.scorer.test_lives import Life, Logs, stream

TEN_YEARS_MS = 10 * 365 * 86_400_000
JUMP = 200
SEED = 7


def ahead(record: Record) -> Record:
    """From some offset on, the clock of asset `a` is ten years ahead."""
    is_word = headers.find(record.headers, headers.ACKNOWLEDGES) is not None
    if record.key != b"a" or record.offset < JUMP or record.value == b"{" or is_word:
        return record
    found = msgspec.json.decode(record.value or b"")
    return record._replace(value=reading.encode(found["t"] + TEN_YEARS_MS, found["values"]))


def judged(readings: list[Record]) -> tuple[list[Score], list[Alarm]]:
    logs = Logs(readings)
    Life(logs, random.Random(SEED), 0.0).run()
    scores = [decode_message(record.value, Score) for record in logs.written[topics.SCORES]]
    return scores, [decode_message(record.value, Alarm) for record in logs.written[topics.ALARMS]]


def test_a_clock_in_the_future_changes_nothing_for_others() -> None:
    """Scores and alarms of all other assets are the same to the bit; those of the asset itself go on."""
    readings = stream(random.Random(SEED), 3000)

    usual, wrong = judged(readings), judged([ahead(record) for record in readings])

    for before, after in zip(usual, wrong, strict=True):
        others = [each for each in before if each.asset != "a"]
        assert len(others) > 20
        assert [each for each in after if each.asset != "a"] == others
    scores, alarms = wrong
    of_a = [score for score in scores if score.asset == "a" and score.t_first > TEN_YEARS_MS]
    assert len(of_a) > 50
    assert any(alarm.asset == "a" and alarm.t > TEN_YEARS_MS for alarm in alarms)
    assert abs(len(scores) - len(usual[0])) <= 3, "a jump costs the window that it falls into"
