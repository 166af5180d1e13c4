"""What a recipe may say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cloud_trainer.recipe import Recipe

FLOATS = [name for name, field in Recipe.model_fields.items() if field.annotation in (float, float | None)]


@pytest.mark.parametrize("value", ["inf", "nan"])
@pytest.mark.parametrize("name", FLOATS)
def test_a_number_is_finite(name: str, value: str) -> None:
    """A budget without end would try for ever, and a threshold of NaN would never alarm: both are refused by name."""
    assert "budget_s" in FLOATS
    with pytest.raises(ValidationError, match=name):
        Recipe.model_validate({name: value})
