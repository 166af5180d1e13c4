"""Folders of recordings: what they become, and the file and line of what cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headwater.contract.errors import BadInput
from headwater.contract.names import PATTERN
from headwater.transport.recordings import NO_CLOCK_MS, recordings

HEADER = "datetime;flow;Volume Flow;anomaly;changepoint\n"
GOOD = HEADER + "2020-03-09 10:14:33;1.5;32.0;0.0;0.0\n2020-03-09 10:14:35;;NaN;1.0;1.0\n"
DATA = Path(os.environ.get("HEADWATER_DATA") or Path(__file__).parents[2].parent / "shared" / "data") / "skab" / "data"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_is_an_asset(tmp_path: Path) -> None:
    """Times are UTC in ms, gaps are None, and labels are told apart from channels."""
    write(tmp_path, "valve1/0.csv", GOOD)
    found = list(recordings(tmp_path))
    assert [recording.asset for recording in found] == ["valve1-0"]
    assert found[0].channels == ("flow", "Volume Flow")
    first, second = found[0].rows
    assert (first.t, first.values, first.label) == (1_583_748_873_000, {"flow": 1.5, "Volume Flow": 32.0}, False)
    assert (second.t - first.t, second.values, second.label) == (2000, {"flow": None, "Volume Flow": None}, True)


@pytest.mark.parametrize(
    "text",
    [
        "2020-03-09 10:14:33.007",
        "2020-03-09T10:14:33.007Z",
        "2020-03-09 12:14:33.007+02:00",
        "2020-03-09 04:44:33.007-05:30",
    ],
)
def test_a_zone_is_heeded(tmp_path: Path, text: str) -> None:
    """The same instant in four zones; where none is named it is UTC."""
    write(tmp_path, "a.csv", f"datetime;flow\n{text};1\n")
    assert next(recordings(tmp_path)).rows[0].t == 1_583_748_873_007


def test_a_millisecond_is_kept(tmp_path: Path) -> None:
    """Also after 2038, where a float of seconds would round it to the one before."""
    write(tmp_path, "a.csv", "datetime;flow\n2038-07-09 10:14:33.002;1\n")
    assert next(recordings(tmp_path)).rows[0].t == 2_162_283_273_002


def test_hours_that_come_twice_stay_in_order(tmp_path: Path) -> None:
    """Over the end of summer time a second stays a second."""
    write(tmp_path, "a.csv", "datetime;flow\n2020-10-25 02:59:59+02:00;1\n2020-10-25 02:00:00+01:00;1\n")
    first, second = next(recordings(tmp_path)).rows
    assert second.t - first.t == 1000


def test_a_file_that_excel_wrote_is_read(tmp_path: Path) -> None:
    """The mark of UTF-8 before the header is no part of its first name."""
    write(tmp_path, "a.csv", "\ufeff" + GOOD)
    assert next(recordings(tmp_path)).channels == ("flow", "Volume Flow")


def test_commas_divide_where_the_header_has_no_semicolon(tmp_path: Path) -> None:
    """The same rows; where it has one, a comma is part of a name."""
    write(tmp_path, "a.csv", GOOD)
    write(tmp_path, "b.csv", GOOD.replace(";", ","))
    write(tmp_path, "c.csv", "datetime;flow, hot\n2020-03-09 10:14:33;1\n")
    semicolons, commas, named = recordings(tmp_path)
    assert (commas.channels, commas.rows) == (semicolons.channels, semicolons.rows)
    assert named.channels == ("flow, hot",)


def test_channels_may_be_called_anything_where_times_are_told(tmp_path: Path) -> None:
    """Numbers of sensors, too, and what would count rows elsewhere."""
    write(tmp_path, "a.csv", "datetime;1001;nan;cycle\n2020-03-09 10:14:33;1;2;3\n")
    (found,) = recordings(tmp_path)
    assert found.rows[0].values == {"1001": 1.0, "nan": 2.0, "cycle": 3.0}


def test_rows_without_times_are_a_second_apart(tmp_path: Path) -> None:
    """Empty lines are no rows, and labels are told apart as ever."""
    write(tmp_path, "a.csv", "flow,heat,anomaly\n1.5,40,0\n\n,41,1\n")
    first, second = next(recordings(tmp_path)).rows
    assert first == (NO_CLOCK_MS, {"flow": 1.5, "heat": 40.0}, False, None)
    assert second == (NO_CLOCK_MS + 1000, {"flow": None, "heat": 41.0}, True, None)


def test_names_come_from_folders_and_files_in_natural_order(tmp_path: Path) -> None:
    """2 comes before 10; a file named like its folder is named once; what is no name becomes one."""
    unlabelled = "datetime;flow\n2020-03-09 10:14:33;1\n"
    for name in ("other/10.csv", "other/2.csv", "anomaly-free/anomaly-free.csv", "My Rig/Run_1.csv", "top.csv"):
        write(tmp_path, name, unlabelled)
    found = list(recordings(tmp_path))
    assert [recording.asset for recording in found] == ["my-rig-run-1", "anomaly-free", "other-2", "other-10", "top"]
    assert found[0].rows[0].label is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: '' is not a header"),
        ("time;flow\n1;2\n", "line 1: there is no column 'datetime', and 'time' is not one of a sensor"),
        ("Cycle,flow\n1,2\n", "line 1: there is no column 'datetime', and 'Cycle' is not one of a sensor"),
        ("flow;datetime\n1;2020-03-09 10:14:33\n", "line 1: 'flow;datetime' is not a header"),
        ("1.5;2.5\n1;2\n", "line 1: '1.5;2.5' is not a header"),
        ("2020-03-09 10:14:33,2.5\n", "line 1: '2020-03-09 10:14:33;2.5' is not a header"),
        ("when;flow\n2020-03-09 10:14:33;2\n", "line 2, column when: '2020-03-09 10:14:33' is not a number"),
        ("flow,heat\n1;2\n", "line 2: 1 fields, the header has 2"),
        ("datetime;anomaly\n2020-03-09 10:14:33;0\n", "line 1"),
        ("datetime;flow;flow\n", "used twice"),
        (HEADER, "has no rows"),
        (HEADER + "2020-03-09 10:14:33;1;2;0\n", "line 2: 4 fields, the header has 5"),
        (GOOD + "yesterday;1;2;0;0\n", "line 4: 'yesterday' is not a time"),
        (GOOD + "0001-01-01 00:00:00+14:00;1;2;0;0\n", "line 4: '0001-01-01 00:00:00+14:00' is not a time"),
        (GOOD + "2020-03-09 10:14:36;1;two;0;0\n", "line 4, column Volume Flow: 'two' is not a number"),
    ],
)
def test_bad_files_are_told_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    """The message names the file, the line and what was found there."""
    path = write(tmp_path, "a.csv", text)
    with pytest.raises(BadInput) as caught:
        list(recordings(tmp_path))
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    """A file in another encoding, or no text at all, is named."""
    (tmp_path / "a.csv").write_bytes(GOOD.encode() + b"\xff\xfe")
    with pytest.raises(BadInput, match="not a CSV file in UTF-8"):
        list(recordings(tmp_path))


def test_a_folder_without_recordings_is_told(tmp_path: Path) -> None:
    """No folder, no files, and two files for one asset are three different sentences."""
    with pytest.raises(BadInput, match="not a folder"):
        list(recordings(tmp_path / "absent"))
    with pytest.raises(BadInput, match=r"no \.csv file"):
        list(recordings(tmp_path))
    write(tmp_path, "a/1.csv", GOOD)
    write(tmp_path, "a-1.csv", GOOD)
    with pytest.raises(BadInput, match="would both be the asset 'a-1'"):
        list(recordings(tmp_path))


@pytest.mark.skipif(not DATA.is_dir(), reason="the SKAB recordings are not beside this checkout")
def test_the_skab_recordings_are_read() -> None:
    """All its files, eight channels each, under names that assets may have."""
    found = list(recordings(DATA))
    assert all(PATTERN.fullmatch(recording.asset) for recording in found)
    assert all(len(recording.channels) == 8 for recording in found)
    labelled = [recording for recording in found if recording.rows[0].label is not None]
    assert len(labelled) >= 30
    assert all(any(row.label for row in recording.rows) for recording in labelled)
