"""A short campaign against the replicator with a fixed seed, and proof that the count can tell."""

from __future__ import annotations

import pytest

from headwater.app.stack.kafka import KafkaTools
from replicator.position import DOUBLED, RETENTION, Gap
from tests.chaos.book import faults_of
from tests.chaos.count import Outcome
from tests.chaos.parts import REPLICATOR
from tests.chaos.plan import AT
from tests.chaos.replicator import plan
from tests.chaos.replicator.chapter import run_chapter
from tests.chaos.replicator.count import Sides, Sums, keyed, plain
from tests.chaos.replicator.logs import Entry

SEED = 20261121
_SOME = (AT + "request sent", plan.RESTORED, plan.LOST_ANSWER, AT + "era begun", plan.EXPIRED)


@pytest.mark.slow
async def test_a_short_campaign_finds_nothing(kafka_tools: KafkaTools) -> None:
    """Five faults of a fixed seed against the real replicator: nothing is lost, duplicated, reordered, or stalls."""
    chapter = plan.chapter(SEED, plan.SHAPES[0], 0, len(_SOME))
    faults = tuple(fault._replace(kind=kind) for fault, kind in zip(chapter.faults, _SOME, strict=True))

    outcome = await run_chapter(chapter._replace(faults=faults, position_interval_s=1.0), kafka_tools, print)

    assert faults_of([outcome]) == []
    assert sum(outcome.fired.values()) == len(_SOME)
    assert outcome.sent > 100


def test_a_plan_is_fixed_by_its_seed() -> None:
    """The same seed gives the same faults, another one others; in each chapter 70 in 100 or more are kills and cuts."""
    first = plan.plan(1, 1000)

    assert first == plan.plan(1, 1000)
    assert first != plan.plan(2, 1000)
    assert sum(len(chapter.faults) for chapter in first) == 1000
    assert {chapter.combination for chapter in first} == set(plan.SHAPES)
    for chapter in first:
        assert sum(fault.kind in REPLICATOR.kills for fault in chapter.faults) >= 0.7 * len(chapter.faults)
    assert {fault.kind for chapter in first for fault in chapter.faults} == {*plan.KILLS_AND_CUTS, *plan.OTHERS}


def entries(*numbers: int, first: int = 0) -> list[Entry]:
    """Records at offsets one after the other."""
    return [Entry(first + place, b"k", number) for place, number in enumerate(numbers)]


def gap(cause: str, first: int, end: int) -> Gap:
    """A gap record."""
    return Gap("t", 0, cause, first, end, end, 1, 0)


def judged(sums: Sums) -> Outcome:
    """What is written down."""
    outcome = Outcome(chapter="lz4/small/0", seed="x")
    sums.put(outcome)
    outcome.wrong += sums.wrong
    return outcome


def test_what_is_wrong_is_counted_apart() -> None:
    """A record that is missing, one that came twice, one that came late and one nobody committed have their numbers."""
    sums = Sums()

    plain(sums, Sides("t[0]", entries(0, 1, 2, 3, 5), entries(0, 1, 3, 2, 2, 9), []))

    outcome = judged(sums)
    assert (outcome.lost, outcome.duplicated, outcome.reordered) == (1, 1, 1)
    assert "lost: 5 at source offset 4 of t[0]" in outcome.examples
    assert outcome.wrong == ["1 records that the source never committed"]


def test_what_a_gap_record_names_is_not_lost() -> None:
    """Records that the source deleted are excused where they are named with their offsets, and nowhere else."""
    sums = Sums()

    plain(sums, Sides("t[0]", entries(0, 1, 2, 3), entries(0, 3), [gap(RETENTION, 1, 2), gap(DOUBLED, 7, 8)]))

    outcome = judged(sums)
    assert (outcome.lost, outcome.named) == (1, 1)
    assert outcome.wrong == ["a gap with cause doubled in t[0], [7, 8)"]


def test_a_compacted_topic_is_counted_by_key() -> None:
    """What compaction took from the source is no loss; a second copy and a step back of a key are told."""
    sums = Sums()

    keyed(sums, "t[0]", entries(2, 3), entries(0, 2, 1, 2))

    outcome = judged(sums)
    assert (outcome.lost, outcome.duplicated, outcome.reordered) == (1, 1, 1)
