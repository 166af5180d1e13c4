"""Healthy limits of a machine."""

from __future__ import annotations

import numpy as np
import pytest

from cloud_trainer.calibration.limits import causal_means, healthy, scaling, t_squared
from headwater.contract.errors import BadInput


def test_means_look_back_only() -> None:
    """What comes after a row changes no bit of its mean."""
    dice = np.random.default_rng(1)
    values = dice.normal(size=(60, 3))
    other = values.copy()
    other[40:] = dice.normal(size=(20, 3)) * 100
    assert np.array_equal(causal_means(values, 7)[:40], causal_means(other, 7)[:40])
    assert causal_means(values, 7)[10] == pytest.approx(values[4:11].mean(axis=0))
    assert causal_means(values, 7)[2] == pytest.approx(values[:3].mean(axis=0))


def test_what_was_healthy_is_within_the_limits() -> None:
    """No distance between blocks of the calibrated readings, and no T² of them, is over 1."""
    values = np.random.default_rng(2).normal(5, 2, (400, 4))
    of = scaling(values)
    found = healthy(values, of, 6)
    later = (of.rows(values, 6)[100:] - of.rows(values, 6)[100:].mean(axis=0)) / found.limits
    assert np.quantile(np.abs(later), 0.99) < 1.2
    assert np.quantile(t_squared(found.whitener, later), 0.99) < 1.2


def test_a_machine_that_drifts_in_its_healthy_time_has_wider_limits() -> None:
    """By what its blocks differ."""
    values = np.random.default_rng(3).normal(size=(400, 1))
    drifting = values + np.linspace(0, 8, 400)[:, None]
    calm = healthy(values, scaling(values), 6).limits * scaling(values).scale
    assert (healthy(drifting, scaling(drifting), 6).limits * scaling(drifting).scale)[0] > 2 * calm[0]


def test_a_flat_channel_has_limits() -> None:
    """A standard deviation of 0 is no division by it."""
    values = np.random.default_rng(3).normal(size=(400, 2))
    values[:, 1] = 7.0
    found = healthy(values, scaling(values), 6)
    assert np.isfinite(found.limits).all()
    assert np.isfinite(found.whitener).all()


def test_too_few_readings_or_gaps_are_refused() -> None:
    """BadInput says how many there are."""
    with pytest.raises(BadInput, match="39 readings"):
        scaling(np.zeros((39, 2)))
    with pytest.raises(BadInput, match="not finite"):
        scaling(np.full((400, 1), np.nan))
