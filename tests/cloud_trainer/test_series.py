"""The windows that a model learns from are those that the edge will cut."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Series, cut
from headwater.contract.features import FeatureSpec, Window, Windower
from headwater.contract.reading import Reading

CHANNELS = ("flow", "current")
Row = tuple[int, float, float, int]  # step of time in seconds, two values, step of the stretch
VALUE = st.one_of(st.integers(0, 9).map(float), st.integers(0, 9).map(float), st.just(float("nan")))
ROW = st.tuples(st.sampled_from([1, 1, 1, 1, 0, -2, 40, -40]), VALUE, VALUE, st.sampled_from([0, 0, 0, 0, 1]))


def by_the_edge(one: Series, recipe: Recipe) -> list[Window]:
    """One reading after another."""
    spec = FeatureSpec(CHANNELS, recipe.window, recipe.step, {}, recipe.max_gap_s, recipe.hold)
    found, windower = [], Windower(spec)
    for number, (t, row) in enumerate(zip(one.t.tolist(), one.values.tolist(), strict=True)):
        if number and one.stretch[number] != one.stretch[number - 1]:
            windower = Windower(spec)
        values = {c: None if np.isnan(v) else v for c, v in zip(CHANNELS, row, strict=True)}
        window = windower.push(number, Reading(t, values))
        if window is not None:
            found.append(window)
    return found


@given(st.lists(ROW, max_size=60), st.integers(2, 5), st.integers(1, 6), st.integers(0, 3))
def test_windows_are_those_of_the_edge(
    rows: list[tuple[int, float, float, int]], window: int, step: int, hold: int
) -> None:
    """Whatever is missing and for how long, whatever time does, and wherever readings were left out."""
    recipe = Recipe(window=window, step=min(step, window), hold=hold, max_gap_s=30.0)
    one = Series(
        np.cumsum([1000 * each[0] for each in rows]).astype(np.int64),
        np.array([each[1:3] for each in rows], dtype=np.float64).reshape(len(rows), 2),
        np.cumsum([each[3] for each in rows]).astype(np.int64),
    )
    found, wanted = cut(one, CHANNELS, CHANNELS, recipe), by_the_edge(one, recipe)
    assert found.first_row.tolist() == [each.first_offset for each in wanted]
    assert found.last_row.tolist() == [each.last_offset for each in wanted]
    assert found.t_last.tolist() == [each.t_last for each in wanted]
    assert found.values.shape == (len(wanted), window, 2)
    assert all(np.array_equal(ours, theirs.values) for ours, theirs in zip(found.values, wanted, strict=True))
    assert found.values.flags.c_contiguous
