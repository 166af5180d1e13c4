"""Recordings that no model of remaining life can be made of are refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cloud_trainer.datasets import building
from cloud_trainer.life.checking import fit_to_learn
from cloud_trainer.life.histories import Fleet, Floats, History, left_of
from cloud_trainer.life.lives import Lives, lives
from cloud_trainer.recipe import Recipe
from headwater.contract.errors import BadInput, GateFailed
from tests.cloud_trainer.life.engines import fleet, write_lives

SETTINGS = ("height", "kind")
RNG = np.random.default_rng(7)


def read(folder: Path, given: Fleet, settings: tuple[str, ...] = SETTINGS, recipe: Recipe | None = None) -> Lives:
    """The lives in recordings of this fleet, once they passed their checks."""
    recipe = recipe or Recipe()
    found = building.from_recordings(write_lives(folder, given), "engine", "lab")
    chosen = lives(found, settings, is_lifelong=True, present=recipe.present, accept=recipe.accept)
    fit_to_learn(found, chosen, recipe)
    return chosen


def with_channel(given: Fleet, name: str, of: Callable[[Floats], Floats]) -> Fleet:
    """The fleet with one more sensor, which is made of the cycles left in each life."""
    columns = [of(left_of(each)) for each in given.histories]
    histories = [
        History(each.settings, np.concatenate([each.sensors, column[:, None]], axis=1))
        for each, column in zip(given.histories, columns, strict=True)
    ]
    return given._replace(sensors=(*given.sensors, name), histories=histories)


def test_recordings_are_lives_up_to_their_failure(tmp_path: Path) -> None:
    """Every row is a cycle; settings and sensors are told apart by name; the dataset names rows and digest."""
    engines = fleet(12, 1)
    found = read(tmp_path, engines)
    assert found.fleet.settings == SETTINGS
    assert found.fleet.sensors == ("fast", "hot", "rough", "still")
    by_name = {f"lab/engine-{number}": each for number, each in enumerate(engines.histories, 1)}
    assert set(found.names) == set(by_name)
    for name, history in zip(found.names, found.fleet.histories, strict=True):
        np.testing.assert_allclose(history.sensors[:, 1], by_name[name].sensors[:, 0], rtol=1e-5)
    assert found.source.records == found.cycles == sum(len(each.sensors) for each in engines.histories)


def test_too_few_lives_are_no_training_set(tmp_path: Path) -> None:
    """They are refused with what is needed and how to come by it."""
    with pytest.raises(GateFailed, match="9 lives of 9 assets of engine ended with a failure, 10 of 3") as raised:
        read(tmp_path, fleet(9, 1))
    assert "headwater edge overhauled ASSET" in raised.value.hint


def test_a_setting_that_is_no_channel_is_named(tmp_path: Path) -> None:
    """With the channels that there are; and where all channels are settings no sensor is left."""
    with pytest.raises(BadInput, match="has the setting altitude") as raised:
        read(tmp_path / "one", fleet(10, 1), ("altitude", "kind"))
    assert "fast, height, hot, kind, rough, still" in raised.value.hint
    every = ("fast", "height", "hot", "kind", "rough", "still")
    with pytest.raises(BadInput, match="no channel is left to be a sensor"):
        read(tmp_path / "two", fleet(10, 1), every)


def test_cycles_that_lack_a_setting_are_none(tmp_path: Path) -> None:
    """As at the edge they are passed over, and counted as left out; a life of such cycles alone is named."""
    engines = fleet(12, 1)
    first, second = engines.histories[0].settings.copy(), engines.histories[1].settings.copy()
    first[3:5, 0] = np.nan
    second[:, 1] = np.nan
    holes = [History(first, engines.histories[0].sensors), History(second, engines.histories[1].sensors)]
    folder = write_lives(tmp_path, engines._replace(histories=[*holes, *engines.histories[2:]]))
    for path in folder.glob("*.csv"):
        path.write_text(path.read_text().replace("nan", ""))
    found = lives(building.from_recordings(folder, "engine", "lab"), SETTINGS, is_lifelong=True, present=0.9)
    assert len(found.fleet.histories[found.names.index("lab/engine-1")].sensors) == len(first) - 2
    assert found.left_out == {"no cycle has its settings": ["lab/engine-2"]}
    assert found.source.excluded == {"no-setting": 2 + len(second)}


def test_a_channel_that_tells_what_is_left_is_an_error(tmp_path: Path) -> None:
    """By its name or by what it says; accepted by name it is a sensor like others."""
    for number, name in enumerate(("rul", "countdown")):
        engines = with_channel(fleet(12, 1), name, lambda left: left)
        with pytest.raises(GateFailed, match=f"label:{name}"):
            read(tmp_path / f"{number}", engines)
    accepted = Recipe(accept=["label:countdown"])
    assert "countdown" in read(tmp_path / "accepted", engines, recipe=accepted).fleet.sensors


def test_a_counter_of_cycles_is_no_error(tmp_path: Path) -> None:
    """Wear only grows as well, and the age since the overhaul is known to the model anyway."""
    assert "counter" in read(tmp_path, with_channel(fleet(12, 1), "counter", lambda left: left[::-1])).fleet.sensors


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (lambda left: np.minimum(left, 40), "straight line"),  # cut, below `most`
        (lambda left: 1 - left / len(left) + RNG.normal(scale=0.003, size=len(left)), "straight line"),  # of its life
        (lambda left: np.exp(-left / 30), "only ever goes one way"),
        (lambda left: np.full(len(left), float(len(left))), "tells how long the life lasts"),
        (lambda left: np.where(left < 30, 1.0, 0.0), "only ever goes one way"),
    ],
)
def test_a_channel_that_tells_it_in_another_way_is_an_error(
    tmp_path: Path, of: Callable[[Floats], Floats], words: str
) -> None:
    """Cut, as a share of its life, bent, as its end or as a label: over all lives none of these goes straight."""
    with pytest.raises(GateFailed, match=f"label:hidden: it tells what is left of a life: .*{words}"):
        read(tmp_path, with_channel(fleet(12, 1), "hidden", of))


def test_what_wears_is_no_error(tmp_path: Path) -> None:
    """Much as a share of its life, with the noise of a sensor or with an end of its own in each life."""
    for number, of in enumerate(
        (
            lambda left: (1 - left / len(left)) ** 2 + RNG.normal(scale=0.05, size=len(left)),
            lambda left: (1 - left / len(left)) * RNG.uniform(0.8, 1.2),
            lambda left: np.cumsum(RNG.exponential(size=len(left))),
        )
    ):
        assert "wear" in read(tmp_path / f"{number}", with_channel(fleet(12, 1), "wear", of)).fleet.sensors


def test_what_no_machine_reads_is_missing(tmp_path: Path) -> None:
    """In a sensor a gap, in a setting no cycle; who judges a model gets what the edge gets. Lives are short."""
    engines = fleet(12, 1, shortest=60, longest=90)
    clean = read(tmp_path / "clean", engines)
    engines.histories[0].sensors[30, 0] = -9999.0
    engines.histories[1].settings[40, 0] = 65535.0
    engines.histories[2].sensors[-1, 3] = 1e3  # it breaks
    found = read(tmp_path / "spoilt", engines)
    assert found.wild == {"height": 1, "hot": 1}
    one, other, last = (found.fleet.histories[found.names.index(f"lab/engine-{number}")] for number in (1, 2, 3))
    hot, rough = (found.fleet.sensors.index(name) for name in ("hot", "rough"))
    assert np.flatnonzero(np.isnan(one.sensors[:, hot])).tolist() == [30]
    assert len(other.sensors) == len(engines.histories[1].sensors) - 1
    assert last.sensors[-1, rough] == 1e3
    assert found.source.excluded == {"no-setting": 1}
    assert clean.wild == {}
    recorded = building.from_recordings(tmp_path / "spoilt", "engine", "lab")
    judged = lives(recorded, SETTINGS, is_lifelong=True, present=0.0)
    assert judged.cycles == clean.cycles
    assert all(np.isfinite(each.sensors).all() for each in judged.fleet.histories)


def test_lives_of_a_cycle_are_not_counted(tmp_path: Path) -> None:
    """Recordings of one row are refused in a sentence that says what a row is."""
    engines = fleet(14, 1)
    short = [History(each.settings[:1], each.sensors[:1]) for each in engines.histories]
    with pytest.raises(GateFailed, match="14 of 14 lives of engine have fewer than 5 cycles") as raised:
        read(tmp_path / "all", engines._replace(histories=short))
    assert "a row is a cycle" in raised.value.hint
    some = [*short[:4], *engines.histories[4:]]
    assert len(read(tmp_path / "some", engines._replace(histories=some)).names) == 14
