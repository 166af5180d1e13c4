"""Models of remaining life: trained twice alike, causal, better than the clock, honest about how far off they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cloud_trainer.life import denoising, network, training
from cloud_trainer.life.histories import Fleet, History, left_of, vectors
from cloud_trainer.life.intervals import calibrate
from cloud_trainer.life.recipe import LifeRecipe
from headwater.contract.errors import GateFailed
from headwater.contract.life import LifeSpec
from headwater.contract.memory import Memory
from headwater.transport import cmapss
from tests.cloud_trainer.life.engines import fleet

SMALL = LifeRecipe(most=80, warn=15, early=1.25, epochs=110, layers=(16, 8), latents=(2,))
CMAPSS = Path(__file__).parents[4] / "shared" / "data" / "cmapss"


@pytest.fixture(scope="module")
def lives() -> Fleet:
    return fleet(30, 1)


def test_trainer_and_edge_compute_the_same_features(lives: Fleet) -> None:
    """Stepping engines of all lengths side by side gives each the vectors of stepping it alone."""
    spec = denoising.learn(lives, latents=2, is_lifelong=True)
    columns = [lives.sensors.index(name) for name in spec.sensors]
    for history, rows in zip(lives.histories[::7], vectors(spec, lives)[::7], strict=True):
        memory = Memory(spec)
        for cycle, row in enumerate(rows):
            says = memory.step(history.settings[cycle : cycle + 1], history.sensors[cycle : cycle + 1, columns])
            assert says.tobytes() == row.tobytes()


def test_regimes_are_found_and_what_stands_still_is_left_out(lives: Fleet) -> None:
    """Two heights are two regimes, a scatter of settings is one, and a sensor without news is none."""
    spec = denoising.learn(lives, latents=2, is_lifelong=True)
    assert len(spec.regimes) == 2
    assert spec.sensors == ("hot", "fast", "rough")
    rng = np.random.default_rng(2)
    scattered = [each._replace(settings=rng.uniform(size=each.settings.shape)) for each in lives.histories]
    assert len(denoising.learn(lives._replace(histories=scattered), latents=2, is_lifelong=True).regimes) == 1
    with pytest.raises(GateFailed, match="3 sensors move"):
        denoising.learn(lives, latents=4, is_lifelong=True)


def test_a_way_of_running_with_hardly_a_cycle_is_none_of_its_own(lives: Fleet) -> None:
    """Its cycles go to the nearest other; the sensors move in each regime, and a model can be made."""
    settings = [each.settings.copy() for each in lives.histories]
    settings[0][40, 0], settings[1][20:23, 0], settings[2][7, 0] = 60.0, 90.0, 10.0
    rare = [each._replace(settings=one) for each, one in zip(lives.histories, settings, strict=True)]
    spec = denoising.learn(lives._replace(histories=rare), latents=2, is_lifelong=True)
    assert spec.sensors == ("hot", "fast", "rough")
    assert sorted(round(regime.centre[0]) for regime in spec.regimes) == [0, 25]
    often = [one._replace(settings=np.where(one.settings > 12, 25.0, one.settings)) for one in lives.histories]
    often[0] = often[0]._replace(settings=np.full_like(often[0].settings, 60.0))
    assert len(denoising.learn(lives._replace(histories=often), latents=2, is_lifelong=True).regimes) == 3


def test_a_sensor_that_moves_little_for_its_height_is_heard(lives: Fleet) -> None:
    """As the speed of a shaft that is governed: what it moves by is small beside what it is, and says as much."""
    high = [each._replace(sensors=each.sensors + np.array([0.0, 0.0, 0.0, 50_000.0])) for each in lives.histories]
    assert denoising.learn(lives._replace(histories=high), latents=2, is_lifelong=True).sensors[-1] == "rough"


def test_a_regime_that_shows_less_is_heeded_less(lives: Fleet) -> None:
    """Where every sensor is four times as noisy its latents count for less, and still follow wear one to one."""
    rng = np.random.default_rng(3)
    noisy = [
        each._replace(
            sensors=each.sensors
            + (each.settings[:, :1] > 12) * rng.normal(size=each.sensors.shape) * np.array([8.0, 0.0, 2.0, 1.2])
        )
        for each in lives.histories
    ]
    spec = denoising.learn(lives._replace(histories=noisy), latents=1, is_lifelong=False)
    quiet, loud = sorted(spec.regimes, key=lambda regime: regime.centre[0])
    assert quiet.heed[0] > 3 * loud.heed[0]
    assert quiet.heed[0] + loud.heed[0] == pytest.approx(2.0)


def test_the_map_has_less_noise_than_the_sensors(lives: Fleet) -> None:
    """Within a few cycles wear stands still: what moves there is noise, and a latent has less of it than any sensor."""
    spec = denoising.learn(lives, latents=1, is_lifelong=False)
    names = list(spec.names)
    latents = [rows[:, names.index("mean1.0")] for rows in vectors(spec, lives)]

    def noise(series: list[np.ndarray]) -> float:
        return float(np.std(np.concatenate([np.diff(each) for each in series])) / np.std(np.concatenate(series)))

    regime = [(each.settings[:, 0] > 12).astype(int) for each in lives.histories]
    for column, name in enumerate(spec.sensors):
        sensor = [
            (each.sensors[:, lives.sensors.index(name)] - np.array([r.mean[column] for r in spec.regimes])[which])
            for each, which in zip(lives.histories, regime, strict=True)
        ]
        assert noise(latents) < noise(sensor)


def test_the_same_lives_and_seed_give_the_same_bytes(lives: Fleet) -> None:
    """Twice: specification and every weight; another seed gives another network."""
    first, second = (training.train(lives, SMALL, 3) for _ in range(2))
    assert first.spec.digest() == second.spec.digest()
    for one, other in zip(
        (*first.network.weights, *first.network.biases), (*second.network.weights, *second.network.biases), strict=True
    ):
        assert one.tobytes() == other.tobytes()
    assert training.train(lives, SMALL, 4).network.weights[0].tobytes() != first.network.weights[0].tobytes()


def test_what_comes_later_changes_nothing(lives: Fleet) -> None:
    """Strictly causal: with everything behind cycle 40 replaced, the first 40 predictions keep every bit."""
    model = training.train(lives, SMALL, 0)
    rng = np.random.default_rng(9)
    other = [
        History(
            np.concatenate([each.settings[:40], rng.permutation(each.settings[40:])]),
            np.concatenate([each.sensors[:40], rng.normal(size=each.sensors[40:].shape) * 1e3]),
        )
        for each in lives.histories
    ]
    before, behind = model.predict(lives), model.predict(lives._replace(histories=other))
    for one, two in zip(before, behind, strict=True):
        assert one[:40].tobytes() == two[:40].tobytes()
    assert any((one[40:] != two[40:]).any() for one, two in zip(before, behind, strict=True))


def test_it_knows_more_than_the_clock(lives: Fleet) -> None:
    """On engines that it has not seen it is off by less than the best that can be said from the cycle alone."""
    unseen = fleet(30, 7)
    model = training.train(lives, SMALL, 0)
    truth = np.minimum(np.concatenate([left_of(each) for each in unseen.histories]), SMALL.most)
    age = np.concatenate([np.arange(len(each.sensors)) for each in unseen.histories])
    clock = np.array([truth[age == each].mean() for each in age])  # it has even seen these
    off = np.sqrt(np.mean((np.concatenate(model.predict(unseen)) - truth) ** 2))
    assert off < 0.75 * np.sqrt(np.mean((clock - truth) ** 2))


def test_short_lives_are_asked_about_more_of_their_cycles() -> None:
    """Of a life of hundred cycles and more every fifth behind the first twenty, of a short one as good as each."""
    every = LifeRecipe()
    for cycles in (100, 128, 362):
        assert training.asked(cycles, every) == slice(20, None, 5)
    for cycles in range(1, 100):
        asked = list(range(cycles))[training.asked(cycles, every)]
        assert asked[0] <= cycles / 5
        assert len(asked) >= min(16, 0.8 * cycles)


def _calibrated(lives: Fleet, recipe: LifeRecipe) -> LifeSpec:
    left_out = training.cross_validate(lives, recipe, 0)
    return calibrate(left_out.predicted, left_out.left, recipe)


def test_intervals_hold_what_they_promise_on_assets_like_those(lives: Fleet) -> None:
    """Calibrated by cross-validation, asked about engines that are new: 80 % within, by six deviations at most off."""
    recipe = SMALL.model_copy(update={"missed": 0.2})
    found = _calibrated(lives, recipe)
    model = training.train(lives, recipe, 0)
    unseen = fleet(60, 8)
    predicted = np.concatenate(model.predict(unseen))
    truth = np.minimum(np.concatenate([left_of(each) for each in unseen.histories]), recipe.most)
    low, high = found.of(predicted)
    assert 0.7 < np.mean((low <= truth) & (truth <= high)) < 0.9
    assert (low <= high).all()
    assert low.min() >= 0
    assert high.max() <= recipe.most


def test_intervals_of_exchangeable_rows_miss_as_many_as_they_may() -> None:
    """With noise that grows with the prediction each bin has a width of its own, and holds its share."""
    rng = np.random.default_rng(3)
    predicted = rng.uniform(0, 100, 20_000)
    truth = np.clip(predicted + rng.normal(size=20_000) * (1 + predicted / 10), 0, 125)
    found = calibrate(predicted[:10_000], truth[:10_000], LifeRecipe())
    low, high = found.of(predicted[10_000:])
    inside = (low <= truth[10_000:]) & (truth[10_000:] <= high)
    assert 0.88 < inside.mean() < 0.92
    assert (high - low)[predicted[10_000:] > 80].mean() > 3 * (high - low)[predicted[10_000:] < 15].mean()


def test_few_assets_make_wider_intervals_than_many() -> None:
    """A thousand rows of ten assets say as little of the next asset as ten do: over many draws each share is held."""
    rng = np.random.default_rng(11)

    def covered(assets: int, each: int, owners: bool) -> float:
        held = []
        for _ in range(60):
            bias = rng.normal(size=assets + 1) * 10  # an asset's own
            off = np.repeat(bias, each) + rng.normal(size=(assets + 1) * each)
            whose = np.repeat(np.arange(assets + 1), each)
            predicted, inside = np.full(len(off), 60.0), whose < assets
            given = whose[inside] if owners else None
            found = calibrate(predicted[inside], (predicted + off)[inside], LifeRecipe(missed=0.2), given)
            low, high = found.of(predicted[~inside])
            held.append(((low <= (predicted + off)[~inside]) & ((predicted + off)[~inside] <= high)).mean())
        return float(np.mean(held))

    assert covered(12, 60, owners=True) > 0.76
    assert covered(12, 60, owners=True) > covered(12, 60, owners=False) + 0.02


def test_few_rows_make_wide_intervals_and_none_make_none() -> None:
    """The lowest and highest stand for what too few rows cannot say."""
    found = calibrate(np.array([5.0, 6.0]), np.array([3.0, 9.0]), LifeRecipe())
    low, high = found.of(np.array([5.0]))
    assert (low[0], high[0]) == (3.0, 8.0)


def test_one_network_learns_a_line() -> None:
    """Features as they come, far from zero and of very different sizes, are no obstacle."""
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(4_000, 2)) * [1e-3, 1e3] + [5, -1e4]).astype(np.float32)
    truth = 50 + 10 * (rows[:, 0].astype(np.float64) - 5) / 1e-3
    fitted = network.train(rows, truth, np.ones(4_000), layers=(8,), most=100, steps=1_000, seed=0)
    assert np.sqrt(np.mean((fitted.predict(rows) - np.clip(truth, 0, 100)) ** 2)) < 3  # of 10


@pytest.mark.skipif(not CMAPSS.is_dir(), reason="the recordings are not beside this checkout")
def test_choices_hold_on_engines_left_out() -> None:
    """Cross-validation on the training engines of FD001 and FD003, over whole lives: what settings stand on."""
    units = [unit for name in ("FD001", "FD003") for unit in cmapss.units(CMAPSS, "train", name)]
    engines = Fleet(cmapss.SETTINGS, cmapss.SENSORS, [History(unit.settings, unit.sensors) for unit in units])
    checked = training.cross_validate(engines, LifeRecipe(folds=2, latents=(2,)), 0)
    assert np.sqrt(np.mean((checked.predicted - np.minimum(checked.left, 125)) ** 2)) < 9
