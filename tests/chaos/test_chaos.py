"""A short campaign with a fixed seed, and proof that the campaign can fail."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headwater.app.stack.kafka import KafkaTools
from headwater.contract import headers
from headwater.transport.kafka_batch.records import Record
from tests.chaos import plan
from tests.chaos.bed import HEADWATER, STOCK
from tests.chaos.book import Book, faults_of, figures
from tests.chaos.chapter import run_chapter
from tests.chaos.count import Outcome, judge
from tests.chaos.plan import Combination
from tests.chaos.version import version

SEED = 20261121


@pytest.mark.slow
@pytest.mark.parametrize("combination", [Combination("5", 1, "kafka"), Combination("3.1.1", 2, "kafka")])
async def test_a_short_campaign_finds_nothing(combination: Combination, kafka_tools: KafkaTools) -> None:
    """Six faults of a fixed seed against the real bridge: nothing is lost, duplicated, reordered, or unaccounted."""
    chapter = plan.chapter(SEED, combination, 0, 6)

    outcome = await run_chapter(chapter, kafka_tools, print)

    assert faults_of([outcome]) == []
    assert sum(outcome.fired.values()) == 6
    assert outcome.clean_stops >= 1


@pytest.mark.slow
async def test_a_sparkplug_edge_node_loses_and_repeats_nothing(kafka_tools: KafkaTools) -> None:
    """A dozen kills at random instants: data by alias keep their names, order and number, from one birth only."""
    chapter = plan.chapter(SEED, Combination("5", 1, "kafka", sparkplug=True), 0, 12)
    kills = tuple(fault._replace(kind=plan.KILL) if fault.kind not in plan.KILLS else fault for fault in chapter.faults)

    outcome = await run_chapter(chapter._replace(faults=kills), kafka_tools, print)

    assert faults_of([outcome]) == []
    assert sum(outcome.fired.get(kind, 0) for kind in plan.KILLS) >= 10
    assert outcome.clean_stops >= 1


async def test_the_campaign_can_fail(kafka_tools: KafkaTools) -> None:
    """Five kills of a careful script on stock libraries: it loses nothing, it writes twice, and the count sees both."""
    chapter = plan.chapter(SEED, Combination("5", 1, "kafka"), 0, 5)
    kills = tuple(fault._replace(kind=plan.KILL, rate=300.0, gap_s=0.5) for fault in chapter.faults)

    outcome = await run_chapter(chapter._replace(faults=kills, delay_s=0.05), kafka_tools, print, system=STOCK)

    assert outcome.wrong == []
    assert outcome.lost == 0
    assert outcome.duplicated > 0


def test_a_plan_is_fixed_by_its_seed() -> None:
    """The same seed gives the same faults, another one others; at least 70 in 100 are kills, in each chapter."""
    wanted = plan.combinations()

    first = plan.plan(1, 1000, wanted)

    assert first == plan.plan(1, 1000, wanted)
    assert first != plan.plan(2, 1000, wanted)
    assert sum(len(chapter.faults) for chapter in first) == 1000
    assert {chapter.combination for chapter in first} == set(wanted)
    for chapter in first:
        kills = sum(fault.kind in plan.KILLS for fault in chapter.faults)
        assert kills >= 0.7 * len(chapter.faults)
        assert chapter.kept or all(fault.kind != plan.MQTT_KILL for fault in chapter.faults)
    assert {fault.kind for chapter in first for fault in chapter.faults} == {*plan.KILLS, *plan.OTHERS}


def record(number: int, asset: bytes, offset: int) -> Record:
    return Record(offset=offset, timestamp_ms=0, key=asset, value=b"%d" % number, headers=())


def test_what_is_wrong_is_counted_apart() -> None:
    """A message that is missing, one that came twice, and one that came late each have their own number."""
    outcome = Outcome(chapter="5/1/kafka/0", seed="x", fired={plan.KILL: 1})
    there = [record(n, b"a", at) for at, n in enumerate([0, 1, 3, 2, 2, 5])]

    judge(outcome, [record(-1, b"a", 9), *there], 6)

    assert (outcome.lost, outcome.duplicated, outcome.reordered, outcome.written) == (1, 1, 1, 6)
    assert "4 is missing" in outcome.examples
    assert not outcome.clean


def test_a_named_point_that_is_never_passed_is_told() -> None:
    """A point that the code has moved away from is a hole in the campaign, and no success."""
    here = Outcome(chapter="5/1/kafka/0", seed="x", sent=99, fired={plan.KILL: 9}, missed={"kill at: written": 3})

    assert "never came about" in faults_of([here])[0]
    assert faults_of([msgspec.structs.replace(here, fired={"kill at: written": 1, plan.KILL: 8})]) == []


def test_a_flagged_copy_is_no_silent_one() -> None:
    """What the bridge itself calls a possible duplicate is counted apart, with what it says, and whether it is one."""
    outcome = Outcome(chapter="5/1/kafka/0", seed="x", fired={plan.KILL: 1})
    doubt = ((headers.POSSIBLE_DUPLICATE, b"retention"),)
    there = [record(0, b"a", 0), record(0, b"a", 1)._replace(headers=doubt), record(1, b"a", 2)._replace(headers=doubt)]

    judge(outcome, there, 2)

    assert (outcome.duplicated, outcome.flagged, outcome.flagged_again) == (0, 2, 1)
    assert outcome.doubts == {"retention": 2}


def test_a_campaign_that_could_not_fail_fails() -> None:
    """No fault fired, or next to nothing sent: that is told, and is no success."""
    idle = Outcome(chapter="5/1/kafka/0", seed="x", sent=1000)
    mute = Outcome(chapter="5/1/kafka/0", seed="x", sent=3, fired={plan.KILL: 3})

    assert len(faults_of([idle, mute])) == 2
    assert not next(each for each in figures([idle], 50) if each.name == "chaos.faults_fired").met


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A tree with a file for each part that counts."""
    for name in ("edge_agent/a.py", "headwater/b.json", "tests/chaos/c.py", "bench/bridge/stock.py", "docs/d.md"):
        path = tmp_path / "code" / name
        path.parent.mkdir(parents=True)
        path.write_text("1")
    return tmp_path / "code"


def test_finished_chapters_are_kept(tmp_path: Path, code: Path) -> None:
    """A campaign that is started again finds what it has done, and nothing of another length."""
    done = plan.chapter(1, plan.combinations()[0], 0, 7)
    outcome = Outcome(chapter=done.name, seed=done.seed, sent=100, fired={plan.KILL: 7})

    assert Book(tmp_path, "bridge", 1, code).write(done, outcome)

    again = Book(tmp_path, "bridge", 1, code)
    assert again.find(done, "headwater") == outcome
    assert again.find(plan.chapter(1, plan.combinations()[0], 0, 8), "headwater") is None
    assert Book(tmp_path, "bridge", 2, code).find(done, "headwater") is None


@pytest.mark.parametrize(
    ("changed", "still"),
    [
        ("edge_agent/a.py", {STOCK}),
        ("headwater/b.json", {STOCK}),
        ("headwater/new.py", {STOCK}),
        ("bench/bridge/stock.py", {HEADWATER}),
        ("tests/chaos/c.py", set()),
        ("docs/d.md", {HEADWATER, STOCK}),
        ("headwater/__pycache__/b.pyc", {HEADWATER, STOCK}),
    ],
)
def test_chapters_of_other_code_are_run_again(tmp_path: Path, code: Path, changed: str, still: set[str]) -> None:
    """A change of what is attacked or attacks leaves no finished chapter, and what was run across it is not kept."""
    done = plan.chapter(1, plan.combinations()[0], 0, 7)
    outcomes = [Outcome(chapter=done.name, seed=done.seed, system=system) for system in (HEADWATER, STOCK)]
    book = Book(tmp_path, "bridge", 1, code)
    assert all(book.write(done, outcome) for outcome in outcomes)

    (code / changed).parent.mkdir(exist_ok=True)
    (code / changed).write_text("2")

    assert {outcome.system for outcome in outcomes if book.write(done, outcome)} == still
    now = Book(tmp_path, "bridge", 1, code)
    assert {system for system in (HEADWATER, STOCK) if now.find(done, system)} == still


def test_the_real_code_has_a_version() -> None:
    """It is the same each time, and differs between the systems."""
    assert version(HEADWATER) == version(HEADWATER) != version(STOCK)


def test_flagged_second_copies_have_a_goal() -> None:
    """No fault of a campaign excuses them: they are a figure that is not met, and end it as what is not as promised."""
    flagged = Outcome(chapter="5/1/kafka/0", seed="x", sent=1000, fired={plan.KILL: 9}, flagged=3, flagged_again=2)

    found = {each.name: each for each in figures([flagged], 9, earlier=1)}

    assert (found["chaos.flagged_duplicates"].value, found["chaos.flagged_duplicates"].met) == (2, False)
    assert (found["chaos.duplicated"].value, found["chaos.duplicated"].met) == (0, True)
    assert found["chaos.earlier_chapters"].value == 1
    assert len(faults_of([flagged])) == 1
