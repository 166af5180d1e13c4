"""Layers: their slopes, and that they are what TFLite computes."""

from __future__ import annotations

import numpy as np
import pytest

from cloud_trainer.pool.layers import Layer, layer, run, slopes, with_parts

STACKS = {
    "dense": ((1, 5, 4, {"rectified": True}), (1, 4, 5, {})),
    "strided": (
        (3, 5, 4, {"same": True, "rectified": True}),
        (4, 4, 3, {"same": True, "stride": 4}),
        (1, 3, 16, {"unfold": 4, "rectified": True}),
        (5, 4, 5, {"same": True}),
    ),
    "dilated": ((2, 5, 4, {"rectified": True}), (3, 4, 4, {"dilation": 2, "rectified": True}), (1, 4, 5, {})),
}


def exact(name: str, seed: int) -> tuple[Layer, ...]:
    rng = np.random.default_rng(seed)
    return tuple(layer(rng, kernel, taken, given, **more) for kernel, taken, given, more in STACKS[name])


@pytest.mark.parametrize("name", STACKS)
def test_slopes_are_those_of_small_changes(name: str) -> None:
    """Backward agrees with finite differences for every weight and bias of every kind of layer."""
    rng = np.random.default_rng(3)
    layers = exact(name, 1)
    x = rng.normal(size=(3, 8, 5))
    wanted = rng.normal(size=run(layers, x).shape)
    parts = [part.astype(np.float64) for each in layers for part in (each.weights, each.bias + rng.normal())]
    found = slopes(with_parts(layers, parts), x, wanted)[1]
    for number, part in enumerate(parts):
        for at in rng.integers(part.size, size=4):
            moved = [each.copy() for each in parts]
            errors = []
            for change in (1e-3, -1e-3):
                moved[number].flat[at] = part.flat[at] + change
                off = run(with_parts(layers, moved), x) - wanted
                errors.append(float((off * off).mean()))
            assert found[number].flat[at] == pytest.approx((errors[0] - errors[1]) / 2e-3, rel=0.02, abs=2e-4)


def test_a_row_of_the_output_looks_at_its_own_span_alone() -> None:
    """A dilated layer without padding sees `span` rows, and none before or behind them."""
    one = layer(np.random.default_rng(1), 3, 2, 2, dilation=2)
    x = np.random.default_rng(2).normal(size=(1, 9, 2))
    changed = x.copy()
    changed[:, 5:] = 9.0
    assert one.span == 5
    assert np.array_equal(one.forward(x)[:, 0], one.forward(changed)[:, 0])
    assert not np.array_equal(one.forward(x)[:, 1:], one.forward(changed)[:, 1:])
