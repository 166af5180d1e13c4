"""The pictures of the report, and what is said beside them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from headwater.app.demo import report
from headwater.app.demo.evidence import Asset, Episode, Evidence, Learned, ScoreTrace, Trace, left_out
from headwater.app.demo.plan import MOST_ROWS, Options, plan
from headwater.app.demo.plots import FALSE, HIT, MISS, _lines, all_plots, chosen, swap_minutes, verdicts
from headwater.app.demo.promises import zero
from headwater.contract.errors import BadInput
from headwater.contract.messages import Alarm

DAY = 86_400_000
MINUTE = 60_000


def alarms(key: Asset, start: int, end: int) -> list[Episode]:
    episode = f"{key[1]}-{start}"
    opened = Alarm(*key, "rig", episode, "opened", start, 2.0, 1.0, 2.0, 1, [], 0)
    return [Episode(opened, 0.0), Episode(structs.replace(opened, state="closed", t=end), 0.0)]


def recorded() -> Evidence:
    """Six recordings, each of another day: 600 readings a second apart, a fault from minute 5 on in all but one."""
    found = Evidence(title="demo")
    for day in range(6):
        key, t = ("lyon", f"rig-{day}"), DAY * day
        found.readings[key] = Trace([t + 1000 * n for n in range(600)], {"flow": [float(n) for n in range(600)]})
        found.scores[key] = ScoreTrace([t + 1000 * n for n in range(120, 600)], [0.5] * 480, [1.0] * 480, [1] * 480)
        found.scores[key].version[240:] = [2] * 240
        if day != 5:
            found.faults[key] = [(t + 5 * MINUTE, t + 8 * MINUTE)]
    found.episodes += alarms(("lyon", "rig-3"), DAY * 3 + 6 * MINUTE, DAY * 3 + 7 * MINUTE)
    found.episodes += alarms(("lyon", "rig-5"), DAY * 5 + MINUTE, DAY * 5 + 2 * MINUTE)
    return found


def test_recordings_with_hits_misses_and_false_alarms_are_drawn_first() -> None:
    """Not the first four: one of each kind, then the next; the title says which kind, the sentence of how many."""
    told = verdicts(recorded())

    assert (told["lyon", "rig-3"], told["lyon", "rig-5"], told["lyon", "rig-0"]) == ([HIT], [FALSE], [MISS])
    assert [asset for _, asset in chosen(told)] == ["rig-3", "rig-0", "rig-5", "rig-1"]
    title, sentence, _ = all_plots(recorded())[0]
    assert title == f"lyon/rig-3: {HIT}"
    assert f"Chosen from 6: 1 with {HIT}, 4 with {MISS}, 1 with {FALSE}." in sentence


def ticks(svg: str) -> list[float]:
    """What stands at the axis of time."""
    return [float(text) for text in re.findall(r'id="xtick_\d+">.*?<!-- ([0-9.]+) -->', svg, re.DOTALL)]


def test_each_recording_is_measured_from_its_own_start() -> None:
    """The axis of a recording of the fourth day begins at 0 and ends at its ten minutes; so does that of the scores."""
    pictures = all_plots(recorded())

    _, _, readings = pictures[0]
    assert max(ticks(readings)) <= 10
    title, _, scores = pictures[4]
    assert title == "Scores around each swap"
    assert max(ticks(scores)) <= 11
    assert swap_minutes(recorded(), "lyon") == [(1, 2.0), (2, 6.0)]


def test_a_gap_is_not_drawn_as_a_line() -> None:
    """Where nothing was measured for much longer than usual, the line ends and begins anew; a missing value too."""
    times, values = _lines([0, 1000, 2000, 60_000, 61_000], [1.0, 2.0, 3.0, 4.0, None])

    assert times == [0, 1000, 2000, 2000, 60_000, 61_000]
    assert str(values) == "[1.0, 2.0, 3.0, nan, 4.0, nan]"


def test_what_was_left_out_has_a_reason() -> None:
    """The count, and how many for which reason."""
    assert left_out({"in-alarm": 2000, "late": 39, "bad": 0}) == "2,039 left out (2,000 in-alarm, 39 late)"
    assert left_out({}) == "0 left out"


def test_the_report_begins_with_its_verdict_and_what_was_asked_for(tmp_path: Path) -> None:
    """Verdict, date, seed, speed-up, load; each kill by its name; reasons for what was left out."""
    found = recorded()
    found.about = {"date": "2026-11-21 12:00 UTC", "seed": "7", "load": "12 machines"}
    found.lag = {"lyon": [(0.0, 0), (9.0, 5)]}
    found.kills = [(3.0, "bridge of lyon"), (5.0, "replicator of osaka")]
    found.learned = [Learned(1, {"lyon.readings": {"0": (0, 90)}}, 50, {"in-alarm": 40}, "ab", 14.4, {"": 1.0})]
    pages = []
    for figures in ([zero("demo.kills", 0)], [zero("demo.kills", 0), zero("demo.windows_unscored", 3)]):
        report.write(replace(found, figures=figures), all_plots(found), {}, tmp_path / "r.html")
        pages.append((tmp_path / "r.html").read_text())

    assert "All 1 promises hold." in pages[0]
    assert "1 of 2 promises missed." in pages[1]
    for said in ("2026-11-21 12:00 UTC", "12 machines", "bridge of lyon", "replicator of osaka", "40 in-alarm"):
        assert said in pages[0]
    assert "request to publication" in pages[0]


def folder_of(tmp_path: Path, rows: int) -> Path:
    lines = (f"2020-03-09 {10 + n // 3600:02}:{n // 60 % 60:02}:{n % 60:02};1.0" for n in range(rows))
    (tmp_path / "long.csv").write_text("\n".join(["datetime;flow", *lines]))
    return tmp_path


def asked(data: Path | None, speed: float | None) -> Options:
    return Options(("lyon", "osaka"), 1, data, False, Path(), Path(), speed=speed)


def test_a_recording_that_is_cut_is_said_to_be(tmp_path: Path) -> None:
    """How many rows of how many; nothing of one that is replayed whole."""
    assert plan(asked(folder_of(tmp_path, 5000), None)).cuts == (
        f"lyon/long: {MOST_ROWS:,} of 5,000 rows are replayed",
    )
    assert plan(asked(folder_of(tmp_path, MOST_ROWS), None)).cuts == ()


def test_recordings_are_replayed_at_the_speed_that_is_asked_for(tmp_path: Path) -> None:
    """Also while a model is trained, since the rows wait then; without recordings there is nothing to replay."""
    made = plan(asked(folder_of(tmp_path, 700), 25.0))

    assert (made.speed, made.slow) == (25.0, 25.0)
    with pytest.raises(BadInput, match="--speed is of recordings"):
        plan(asked(None, 25.0))
