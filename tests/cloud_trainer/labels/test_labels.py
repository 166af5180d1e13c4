"""Labels that arrive late are joined with alarms by asset and time, and what they say is told anew."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from cloud_trainer.judging.material import FAULT, NORMAL, UNKNOWN
from cloud_trainer.labels import reading
from cloud_trainer.labels.joining import Episode, Restated, episodes, restate, truth_of
from cloud_trainer.labels.telling import request_of
from cloud_trainer.series import Series, TrainingSet
from headwater.contract.errors import BadInput
from headwater.contract.labels import Label
from headwater.contract.manifest import Dataset
from headwater.contract.messages import Alarm
from headwater.contract.reading import MAX_TIME_MS

MINUTE = 60_000


def alarm(asset: str, episode: str, state: str, minute: int, version: int = 1) -> Alarm:
    return Alarm("lyon", asset, "pump", episode, state, minute * MINUTE, 3.0, 1.0, 3.0, version, [], 0)


def order(asset: str, first: int, last: int, kind: str = "bearing", number: str = "1") -> Label:
    return Label("lyon", asset, first * MINUTE, last * MINUTE, kind, number, 0)


ALARMS = [
    alarm("pump-1", "a", "opened", 10),
    alarm("pump-1", "a", "closed", 15),
    alarm("pump-1", "b", "opened", 100),
    alarm("pump-1", "b", "closed", 110),
    alarm("pump-2", "c", "opened", 50, 2),
    alarm("pump-2", "c", "closed", 55, 2),
    alarm("pump-2", "d", "opened", 900, 2),
]


def test_metrics_are_restated_as_labels_arrive() -> None:
    """Nothing is claimed before labels; then precision counts known alarms alone, and recall every fault."""
    found = episodes(ALARMS)
    assert restate("pump", found, [], 0)[0] == Restated("pump", 0, 4, 0, 0, 0, 0)
    labels = [
        order("pump-1", 14, 20),  # within its alarm
        order("pump-2", 60, 70),  # behind its alarm, by five minutes
        order("pump-2", 400, 410),  # nobody noticed
        order("pump-1", 100, 120, "false-alarm", "2"),
    ]
    whole, first, second = restate("pump", found, labels, 10 * MINUTE)
    assert whole == Restated("pump", 0, 4, 3, 2, 3, 2)
    assert (whole.precision, whole.recall, whole.known_share) == (2 / 3, 2 / 3, 0.75)
    assert (first.version, first.alarms, first.known, first.right) == (1, 2, 2, 1)
    assert (second.version, second.alarms, second.known, second.right) == (2, 2, 1, 1)
    assert restate("pump", found, labels, 0)[0].right == 1
    missed = [*labels, order("pump-7", 5, 6)]
    assert restate("pump", found, missed, 10 * MINUTE, ["lyon/pump-7"])[0].recall == 0.5  # it never raised an alarm
    assert restate("fan", found, labels, 0)[0].alarms == 0
    assert restate("pump", [], labels, 0)[0].precision is None


@pytest.mark.parametrize("seed", range(5))
def test_alarms_are_paired_by_their_name(seed: int) -> None:
    """Main topic or backlog first, an opening finds its close; a record that comes twice makes no second alarm."""
    found = episodes(ALARMS)
    assert [(one.start // MINUTE, one.end // MINUTE) for one in found[:3]] == [(10, 15), (100, 110), (50, 55)]
    mixed = [*ALARMS, *ALARMS[:3]]
    random.Random(seed).shuffle(mixed)
    assert episodes(mixed) == found
    assert episodes(list(reversed(ALARMS))) == found


def test_a_close_without_its_opening_claims_nothing_before_it() -> None:
    """An alarm whose opening is gone begins where it closed; it is not right by the faults of all the past."""
    (one,) = episodes([alarm("pump-1", "a", "closed", 900)])
    assert (one.start, one.end) == (900 * MINUTE, 900 * MINUTE)
    (whole, _) = restate("pump", [one], [order("pump-1", 10, 20)], 0)
    assert (whole.right, whole.found, whole.faults) == (0, 0, 1)
    set_back = episodes([alarm("pump-1", "a", "opened", 10), alarm("pump-1", "a", "closed", 9)])
    assert [(one.start // MINUTE, one.end // MINUTE) for one in set_back] == [(9, 10)]
    anew = [alarm("pump-1", "a", state, minute) for minute, state in ((10, "opened"), (12, "closed"), (50, "opened"))]
    assert [one.start // MINUTE for one in episodes(anew)] == [10, 50]


def test_many_labels_are_joined_quickly() -> None:
    """Only alarms of the same asset are looked at: a year of a large fleet takes no minutes."""
    many = [Episode(f"lyon/p{i % 500}", "pump", 1, i * 1000, i * 1000 + 10) for i in range(20_000)]
    faults = [order(f"p{i % 500}", 10**6, 10**6, number=str(i)) for i in range(5000)]
    began = time.process_time()
    assert restate("pump", many, faults, 0)[0].found == 0
    assert time.process_time() - began < 2


def test_labels_say_which_readings_were_faulty() -> None:
    """Inside a fault is faulty; the time in which it may have grown is unknown, and so is an asset without labels."""
    t = np.arange(0, 100, 10, dtype=np.int64) * MINUTE
    one = Series(t, np.zeros((10, 1)), np.zeros(10, np.int64))
    learn = TrainingSet("pump", ("flow",), {"lyon/pump-1": one, "lyon/pump-9": one}, Dataset({}, "", 20))
    truth = truth_of(learn, [order("pump-1", 50, 70)], 15 * MINUTE)
    assert truth["lyon/pump-1"].tolist() == [NORMAL] * 4 + [UNKNOWN] + [FAULT] * 3 + [NORMAL] * 2
    assert "lyon/pump-9" not in truth


def test_orders_are_read_from_a_file(tmp_path: Path) -> None:
    """Times in any zone, commas or semicolons; a row without a number has one of its own that does not change."""
    path = tmp_path / "orders.csv"
    path.write_text("site;asset;from;to;kind\nlyon;pump-1;2026-03-09 10:14:33;2026-03-09T12:00:00+01:00;bearing\n")
    (label,) = reading.read(path)
    assert (label.t_from, label.t_to) == (1_773_051_273_000, 1_773_054_000_000)
    assert label.order == reading.read(path)[0].order
    assert request_of("pump", [label]) == request_of("pump", reading.read(path))
    path.write_text("order,site,asset,from,to,kind\n7,lyon,pump-1,2026-03-09,2026-03-10,healthy\n")
    (label,) = reading.read(path)
    assert (label.order, label.is_fault, label.key) == ("7", False, "lyon/pump-1/7")


HEAD = "site,asset,from,to,kind,order\n"
DAY = 24 * 60 * MINUTE


def test_orders_as_other_programs_write_them(tmp_path: Path) -> None:
    """With a byte order mark; a date alone stands for the whole day; without an end it goes on."""
    path = tmp_path / "orders.csv"
    path.write_text("\ufeff" + HEAD + "lyon,pump-1,2026-03-09,2026-03-09,bearing,7\n", "utf-8")
    (label,) = reading.read(path)
    assert (label.t_from % DAY, label.t_to - label.t_from) == (0, DAY - 1)
    path.write_text(HEAD + "lyon,pump-1,2026-03-09,,bearing,\n")
    (still,) = reading.read(path)
    assert still.t_to == MAX_TIME_MS
    path.write_text(HEAD + "lyon,pump-1,2026-03-09,2026-03-10T08:00:00Z,bearing,\n")
    (ended,) = reading.read(path)
    assert (ended.key, ended.t_to - ended.t_from) == (still.key, DAY + 8 * 60 * MINUTE)


def test_an_order_says_one_thing(tmp_path: Path) -> None:
    """A row that is there twice counts once; two that contradict each other are refused, with both lines."""
    path = tmp_path / "orders.csv"
    row = "lyon,pump-1,2026-03-09,2026-03-10,bearing,7\n"
    path.write_text(HEAD + row + row)
    assert len(reading.read(path)) == 1
    path.write_text(HEAD + row + row + "lyon,pump-1,2026-04-09,2026-04-10,bearing,7\n")
    with pytest.raises(BadInput, match="lines 2 and 4 say different things of order 7 of lyon/pump-1"):
        reading.read(path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("lyon,pump-1,monday,2026-03-10,bearing", "line 2, column from: 'monday' is not a time"),
        ("lyon,pump-1,,2026-03-10,bearing", "line 2, column from: '' is not a time"),
        ("lyon,Pump 1,2026-03-09,2026-03-10,bearing", "line 2: asset 'Pump 1' is not a name"),
        ("lyon,pump-1,2026-03-11,2026-03-10,bearing", "no span of time"),
        ("cloud,pump-1,2026-03-09,2026-03-10,bearing", "reserved"),
    ],
)
def test_what_cannot_be_used_is_named_by_its_line(tmp_path: Path, row: str, said: str) -> None:
    """No order of a file is stored when one of them is wrong."""
    path = tmp_path / "orders.csv"
    path.write_text(f"site,asset,from,to,kind\n{row}\n")
    with pytest.raises(BadInput, match=said):
        reading.read(path)
