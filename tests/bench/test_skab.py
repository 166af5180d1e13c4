"""`bench.skab` counts as the official protocol does, and its detector knows neither the clock nor the future."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.skab import controls, search
from bench.skab.detector import Setting, chosen, trace
from bench.skab.protocol import TRAINED, Counts, count, episodes, files, nab, pooled
from headwater.contract.errors import BadInput
from tests.bench.rig import FAULT, record


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two groups of two recordings, and one without labels."""
    folder = tmp_path_factory.mktemp("rig")
    for number in (1, 2):
        record(folder / "one" / f"{number}.csv", number)
        record(folder / "two" / f"{number}.csv", 10 + number)
    record(folder / "calm" / "calm.csv", 20, fault=False, labels=False)
    return folder


def test_hits_and_misses_are_summed_before_ratios_are_made() -> None:
    """Micro averages, as the leaderboard has them; always alarm has a MAR of 0 and a FAR of 100."""
    labels = np.array([False, True, True, False])
    one, two = count(np.array([True, True, False, False]), labels), count(np.ones(4, np.bool_), labels)
    assert one == Counts(1, 1, 1, 1)
    assert (two.far, two.mar) == (100.0, 0.0)
    assert pooled([one, two]) == Counts(3, 3, 1, 1)
    assert pooled([one, two]).f1 == pytest.approx(3 / (3 + (1 + 3) / 2))
    assert episodes(np.array([True, True, False, True])) == [(0, 2), (3, 4)]


def test_changepoints_are_scored_as_nab_does() -> None:
    """At once for every change: 100; silence: 0; each false one costs 0.11 of a change."""
    t, changes = np.arange(500.0), np.zeros(500, np.bool_)
    changes[[100, 300]] = True
    assert nab([(t, changes, changes)]).score == pytest.approx(100)
    assert nab([(t, changes, np.zeros(500, np.bool_))]).score == 0
    false = changes.copy()
    false[[10, 20]] = True
    found = nab([(t, changes, false)])
    assert found.false == 2
    assert found.score == pytest.approx(100 - 100 * 0.22 / 4)
    late = np.zeros(500, np.bool_)
    late[[160, 360]] = True
    assert nab([(t, changes, late)]).score < 50


def test_windows_of_two_near_changes_do_not_overlap() -> None:
    """A detection behind the second change counts once, for the first."""
    t, changes, found = np.arange(200.0), np.zeros(200, np.bool_), np.zeros(200, np.bool_)
    changes[[50, 70]] = True
    found[60] = True
    scored = nab([(t, changes, found)])
    assert scored.false == 0
    assert 0 < scored.score < 50


def test_the_future_changes_nothing(rig: Path) -> None:
    """With everything after row t replaced, every verdict up to t is the same."""
    file = files(rig)[0]
    for t in (450, 600, 800):
        other = file.values.copy()
        other[t:] = np.random.default_rng(t).normal(40, 30, other[t:].shape)
        before, after = trace(file.values, [Setting()]), trace(other, [Setting()])
        for mine, others in zip(before, after, strict=True):
            assert np.array_equal(mine[: t - TRAINED], others[: t - TRAINED])
        assert not np.array_equal(before.alarm, after.alarm) or t == 800


def test_channels_are_chosen_without_labels(rig: Path) -> None:
    """The one that wanders by itself is left out; where all wander, all are kept."""
    found = files(rig)
    assert chosen(found).tolist() == [True, True, False]
    wandering = [each._replace(values=each.values[:, 2:]) for each in found]
    assert chosen(wandering).tolist() == [True]


def test_the_fault_is_found_and_the_new_state_after_it_is_none(rig: Path) -> None:
    """An episode begins and ends within 30 rows of the fault's, though the machine comes back elsewhere."""
    for file in files(rig):
        if file.labels is None:
            continue
        alarm = trace(file.values[:, :2], [Setting()]).alarm[:, 0]
        longest = max(episodes(alarm), key=lambda span: span[1] - span[0])
        assert 0 <= longest[0] + TRAINED - FAULT[0] < 30
        assert 0 <= longest[1] + TRAINED - FAULT[1] < 30


def test_a_clock_is_unmasked(rig: Path) -> None:
    """Healthy rows played again before the judged ones cost the clock its score, and ours nothing; order matters."""
    found = [each for each in files(rig) if each.labels is not None]
    channels = np.array([True, True, False])
    ours = controls.ours(Setting())
    f1 = controls.judged(found, channels, ours).f1
    assert f1 > 0.9
    assert controls.shifted(found, channels, ours).f1 > f1 - 0.05
    assert controls.shifted(found, channels, controls.clock).f1 < controls.judged(found, channels, controls.clock).f1
    assert controls.shuffled(found, channels, ours, 1).f1 < f1 - 0.2


def test_a_fold_does_not_see_what_it_is_counted_on() -> None:
    """Two settings, each perfect on the group that the other fails: across groups nothing is left, within them all."""
    right, wrong = (10, 0, 0, 10), (0, 10, 10, 0)
    counts = np.array([[right, right, wrong, wrong], [wrong, wrong, right, right]])
    tried = search.Searched([Setting(), Setting(8)], counts)
    crossed = search.across(tried, ["a", "a", "b", "b"])
    assert crossed is not None
    assert crossed.f1 == 0
    assert search.across(tried, ["a"] * 4) is None
    assert search.leave_one_out(tried).f1 < 1
    assert search.best(tried, np.array([0, 1])) == 0
    assert search.best(tried, np.array([2, 3])) == 1


def test_settings_are_drawn_by_seed_without_the_defaults_among_them() -> None:
    """The same seed draws the same; the defaults are not put in."""
    assert search.settings(20, 1) == search.settings(20, 1) != search.settings(20, 2)
    assert Setting() not in search.settings(20, 1)


def test_figures_are_those_of_the_folder(rig: Path, tmp_path: Path) -> None:
    """Headline and what stands beside it, as JSON; one group alone has no figure across groups."""
    done = _bench("--data", str(rig), "--settings", "4", "--json")
    assert done.returncode == 0, done.stderr
    figures = {each["name"]: each for each in json.loads(done.stdout)["figures"]}
    assert figures["skab.f1"]["value"] > 0.9
    assert figures["skab.f1_cross_group"]["value"] is not None
    assert "4 settings" in figures["skab.f1_leave_one_file_out"]["note"]
    assert "metronome" in figures["skab.nab"]["note"]
    record(tmp_path / "only" / "1.csv", 1)
    record(tmp_path / "only" / "2.csv", 2)
    done = _bench("--data", str(tmp_path), "--settings", "2", "--json")
    figures = {each["name"]: each for each in json.loads(done.stdout)["figures"]}
    assert figures["skab.f1_cross_group"]["value"] is None
    assert figures["skab.f1"]["value"] is None
    assert "20 are needed" in figures["skab.f1"]["note"]
    assert "one group" in figures["skab.f1_cross_group"]["note"]


def test_folders_that_cannot_be_judged_are_refused(tmp_path: Path) -> None:
    """Without labels, too short, of different machines: a sentence each."""
    record(tmp_path / "a" / "calm.csv", 1, labels=False)
    done = _bench("--data", str(tmp_path))
    assert done.returncode == 2
    assert "column `anomaly`" in done.stderr + done.stdout
    record(tmp_path / "a" / "short.csv", 1, rows=300, fault=False)
    with pytest.raises(BadInput, match="400 rows or fewer"):
        files(tmp_path)


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.skab", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
