"""What the demo demands by the truth of its own publisher, where other parts agree on what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headwater.app.demo.count import Log
from headwater.app.demo.demands import ENOUGH, left_out, never_scored, refused, unpublished
from headwater.app.demo.evidence import Learned
from headwater.app.demo.plan import MOST_ROWS, Options, recorded, simulated
from headwater.app.plant.publisher import Machine
from headwater.contract import headers
from headwater.transport.kafka_batch import Record

ONE, TWO = Machine("lyon", "pump", "pump-1"), Machine("lyon", "pump", "pump-2")
LEARNED = Learned(
    1,
    {"lyon.readings": {"0": (10, 60), "1": (0, 50)}, "lyon.alarms": {"0": (0, 4)}},
    90,
    {"in-alarm": 10, "undecodable-alarm": 3},
    "a" * 64,
    1.0,
    {},
)


def test_readings_that_nobody_published_are_counted() -> None:
    """A machine that fell silent, and one that never spoke."""
    assert unpublished({ONE: 10, TWO: 10}, {ONE: (10, ""), TWO: (10, "")}) == 0
    assert unpublished({ONE: 10, TWO: 10}, {ONE: (7, "")}) == 13


def test_a_plant_owes_every_tick_and_no_fewer_than_were_planned(tmp_path: Path) -> None:
    """A feed that ended early cannot say how many were enough."""
    plan = simulated(Options(("lyon", "osaka"), 1, None, False, tmp_path, tmp_path, pumps=2))
    least = plan.healthy + plan.watch + plan.faulty

    assert plan.readings(3) == dict.fromkeys(plan.machines, least)
    assert plan.readings(least + 5) == dict.fromkeys(plan.machines, least + 5)
    assert len(plan.machines) == 4


def test_recordings_owe_their_rows(tmp_path: Path) -> None:
    """Each its own number, whatever the feed says of its ticks."""
    for name, rows in (("a", 700), ("b", 650), ("c", MOST_ROWS + 10)):
        lines = [f"2020-01-01 {i // 3600:02}:{i // 60 % 60:02}:{i % 60:02};{i}" for i in range(rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["datetime;flow", *lines]))
    plan = recorded(Options(("lyon", "osaka"), 1, tmp_path, False, tmp_path, tmp_path), tmp_path)

    assert {machine.asset: count for machine, count in plan.readings(1).items()} == {"a": 700, "b": 650, "c": MOST_ROWS}


def test_what_a_training_left_out_is_counted_told_or_not() -> None:
    """Only an alarm is a reason; what the trainer passed over in silence is missing from the range."""
    assert left_out(LEARNED) == 0
    assert left_out(replace(LEARNED, records=85, excluded={"in-alarm": 10, "undecodable": 5})) == 5
    assert left_out(replace(LEARNED, records=80)) == 10


def test_every_dead_letter_is_a_good_reading_refused() -> None:
    """Nothing broken was published, whatever reason a dead letter gives."""
    letter = Record(0, 0, b"pump-5", b"{}", ((headers.REASON, b"bad-payload"),))
    shorter = replace(LEARNED, records=80)

    assert refused([Log({0: [], 1: []})], [LEARNED]).met
    found = refused([Log({0: [letter], 1: []}), Log({0: [letter, letter]})], [LEARNED, shorter, LEARNED])
    assert (found.value, found.met, found.note) == (13, False, "3 dead letters, 10 left out of training")


def test_a_machine_without_a_score_is_named() -> None:
    """Whoever published enough with a model about, and was never scored."""
    before = {ONE: 50, TWO: 50}
    published = {ONE: (50 + ENOUGH, ""), TWO: (50 + ENOUGH, "")}
    both = {("lyon", "pump-1"), ("lyon", "pump-2")}

    assert never_scored(published, before, both) == []
    assert never_scored(published, before, {("lyon", "pump-1"), ("osaka", "pump-2")}) == [TWO]
    assert never_scored({**published, TWO: (50, "")}, before, {("lyon", "pump-1")}) == []  # its recording had ended
    assert never_scored(published, {}, set()) == [ONE, TWO]
