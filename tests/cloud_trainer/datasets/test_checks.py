"""What is not fit to learn from is found and named; what is, is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from cloud_trainer.datasets.building import from_recordings
from cloud_trainer.datasets.checks import Report, check, examine, fit_to_learn
from cloud_trainer.datasets.columns import Table
from cloud_trainer.recipe import Recipe
from headwater.app.plant.simulator import CHANNELS as PUMP
from headwater.contract.errors import GateFailed
from tests.cloud_trainer.datasets import recorded
from tests.cloud_trainer.plant import healthy

CHANNELS = ("flow", "current")
Values = np.ndarray
ROWS = 600


def tables(sites: int = 3, seed: int = 5) -> dict[str, Table]:
    """Two noisy channels of an asset at each site."""
    rng = np.random.default_rng(seed)
    times = np.arange(ROWS, dtype=np.int64) * 1000
    values = [rng.normal((30.0, 5.0), (2.0, 0.5), (ROWS, 2)) for _ in range(sites)]
    places, beside = np.arange(ROWS, dtype=np.int64), np.zeros(ROWS, bool)
    return {f"site-{n}/rig": Table(places, times, each, beside) for n, each in enumerate(values)}


def found(report: Report) -> set[str]:
    return {f"{each.level} {each.name}" for each in report.findings}


def of(changed: dict[str, Table], labels: dict[str, np.ndarray] | None = None, recipe: Recipe | None = None) -> Report:
    return examine(changed, CHANNELS, labels or {}, recipe or Recipe())


def test_good_data_pass() -> None:
    """Noise alone, and the pumps of the simulator, which drift and change their load, are nothing to tell."""
    assert found(of(tables())) == set()
    pumps = {
        key: Table(
            np.arange(len(rows), dtype=np.int64),
            np.array([t for t, _ in rows], np.int64),
            np.array([[values[c] for c in PUMP] for _, values in rows]),
            np.zeros(len(rows), bool),
        )
        for key, rows in healthy(3, 900, pumps=3).items()
    }
    assert found(examine(pumps, PUMP, {}, Recipe())) == set()


def gaps(values: Values) -> None:
    values[::3, 0] = np.nan


def stuck(values: Values) -> None:
    values[200:400, 0] = 31.0


def other_unit(values: Values) -> None:
    values[:, 0] *= 100


def half_other_unit(values: Values) -> None:
    values[300:, 0] *= 1000


def clock(values: Values) -> None:
    values[:, 0] = np.arange(ROWS) * 0.5 + 7


def counter(values: Values) -> None:
    values[:, 0] = np.arange(ROWS) // 100


ONE: list[tuple[Callable[[Values], None], bool, str]] = [
    (gaps, False, "warning missing:flow"),
    (stuck, False, "warning flat:flow"),
    (other_unit, False, "error unit:site-1/flow"),
    (half_other_unit, False, "warning unit-jump:site-1/rig/flow"),
    (clock, True, "error clock:flow"),
    (counter, True, "warning clock:flow"),
]


@pytest.mark.parametrize(("spoil", "all_sites", "expected"), ONE, ids=[each[0].__name__ for each in ONE])
def test_what_is_wrong_is_named(spoil: Callable[[Values], None], all_sites: bool, expected: str) -> None:
    """Gaps, a stuck sensor, another unit, the same from one moment on, a clock and a counter among the channels."""
    given = tables()
    for key, one in given.items():
        if all_sites or key == "site-1/rig":
            spoil(one.values)
    assert expected in found(of(given))


def test_another_unit_is_told_of_the_site_that_has_it() -> None:
    """The other sites, of which most agree, are not blamed."""
    given = tables()
    other_unit(given["site-1/rig"].values)
    assert [each.of for each in of(given).errors] == ["site-1/flow"]


@pytest.mark.parametrize(("count", "level"), [(5, "warning"), (100, "error")])
def test_times_that_stand_or_go_back(count: int, level: str) -> None:
    """A few repeated or earlier times are told, many are refused."""
    given = tables()
    one = given["site-0/rig"]
    times = one.t.copy()
    times[10 : 10 + 2 * count : 2] = times[9 : 9 + 2 * count : 2]
    given["site-0/rig"] = one._replace(t=times)
    times = one.t.copy()
    times[12 : 12 + 3 * count : 3] -= 5000
    given["site-2/rig"] = one._replace(t=times)
    assert {f"{level} time-repeated:site-0/rig", f"{level} time-backward:site-2/rig"} <= found(of(given))


def test_a_label_among_the_channels_is_refused() -> None:
    """By its name, or because it is the label, also where it is turned round; so is one that follows alarms."""
    given, labels = tables(), {}
    for key, one in given.items():
        labels[key] = np.arange(ROWS) % 200 > 150
        one.values[:, 1] = 7.0 - 3.0 * labels[key]
    assert found(of(given, labels)) == {
        "error label:current",
        "warning flat:current",
    } or "error label:current" in found(of(given, labels))
    named = examine(tables(), ("flow", "Anomaly"), {}, Recipe())
    assert "error label:Anomaly" in found(named)


def test_what_is_meant_so_is_accepted_by_its_name() -> None:
    """Hours since overhaul are a clock on purpose: told, and no longer refused."""
    given = tables()
    for one in given.values():
        clock(one.values)
    with pytest.raises(GateFailed, match=r"not fit to learn from: clock:flow: it tells the row number"):
        of(given).gate()
    accepted = of(given, recipe=Recipe(accept=["clock:flow"]))
    assert found(accepted) == {"warning clock:flow"}
    accepted.gate()


@pytest.fixture
def rigs(tmp_path: Path) -> Path:
    return recorded.folder(tmp_path / "rigs", 300)


def test_recordings_are_held_against_their_own_labels(rigs: Path) -> None:
    """A channel that repeats the label column is found, though the labels are never learned from."""
    header = ("datetime", *recorded.CHANNELS, "valve", "anomaly")
    for number in (1, 2, 3):
        lines = [[*line, f"{20 + (n > 200)}", f"{float(n > 200)}"] for n, line in enumerate(recorded.rows(300, number))]
        recorded.write(rigs / f"rig-{number}.csv", lines, header)
    seen = from_recordings(rigs, "rig", "lyon")
    assert [each.name for each in check(seen, Recipe()).errors] == ["label:valve"]
    with pytest.raises(GateFailed, match="label:valve"):
        fit_to_learn(seen, Recipe())


def test_what_passed_is_the_training_set(rigs: Path) -> None:
    """Nothing is changed by checking."""
    assert fit_to_learn(from_recordings(rigs, "rig", "lyon"), Recipe()).source.records == 900


def test_warnings_are_one_line_of_the_log(tmp_path: Path) -> None:
    """Twelve channels that stand still are named together; one alone says all there is."""
    for still in (12, 1):
        header = ("datetime", *recorded.CHANNELS, *(f"still{n}" for n in range(still)))
        lines = [[*line, *["7"] * still] for line in recorded.rows(300, 1)]
        recorded.write(tmp_path / "rig-1.csv", lines, header)
        with capture_logs() as logged:
            fit_to_learn(from_recordings(tmp_path, "rig", "lyon"), Recipe())
        (line,) = logged
        assert (line["event"], line["log_level"]) == ("data check", "warning")
        assert line["detail"].startswith("flat:still0: stood still at 1 of 1 assets for up to 300 readings: lyon/rig-1")
        assert line["found"].startswith("flat: still0, still1, still10, still11,") is (still == 12)
        assert line["found"].endswith(" and 2 more" if still == 12 else "flat: still0")
        assert ("headwater train dataset check shows all" in line["detail"]) is (still == 12)


def test_labels_belong_to_the_rows_that_are_readings(tmp_path: Path) -> None:
    """A row from before 1970 is no reading, an empty first label is none: the labels of the others still tell."""
    header = ("datetime", *recorded.CHANNELS, "state", "anomaly")
    told = ["", *(str(int(n > 250)) for n in range(1, 300))]
    lines = [[*line, str(int(n > 250)), told[n]] for n, line in enumerate(recorded.rows(300, 1))]
    recorded.write(tmp_path / "rig-1.csv", [["1969-12-31 00:00:00", "1", "2", "3", "0", ""], *lines], header)
    read = from_recordings(tmp_path, "rig", "lyon")
    assert read.excluded["undecodable"] == 1
    assert read.labels["lyon/rig-1"].tolist() == [n > 250 for n in range(300)]
    assert "error label:state" in found(check(read, Recipe()))
    recorded.write(tmp_path / "rig-1.csv", [["1969-12-31 00:00:00", "1", "2", "3", "0", "1"]], header)
    assert not from_recordings(tmp_path, "rig", "lyon").labels
