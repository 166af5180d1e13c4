"""By which recipe a class is trained: the settings' one, else that of its newest version."""

from __future__ import annotations

import importlib.util

import msgspec
import pytest
from pydantic import ValidationError

from cloud_trainer.life.choosing import check_installed, recipe_of
from cloud_trainer.life.recipe import LifeClass, LifeRecipe
from cloud_trainer.life.words import table
from cloud_trainer.settings import TrainerSettings
from headwater.contract.errors import BadInput, BadSetting
from headwater.contract.manifest import Manifest
from tests.edge_agent.scorer import life_models, models


class Shelf:
    """Versions of one class."""

    def __init__(self, *manifests: Manifest) -> None:
        self._manifests = manifests

    def versions(self, _: str) -> list[int]:
        return list(range(1, len(self._manifests) + 1))

    def read(self, path: str) -> bytes:
        return self._manifests[int(path.split("/")[2]) - 1].encode()


RECIPE = LifeRecipe(settings=("height",), most=80, warn=15)


def life(**metrics: object) -> Manifest:
    """A life model's manifest with these metrics."""
    return msgspec.structs.replace(life_models.make(1, 2)[1], metrics=metrics)


def test_the_settings_go_before_the_newest_version() -> None:
    """Without either a class is one that finds anomalies."""
    named = TrainerSettings(life=(LifeClass(asset_class="engine", warn=9), LifeClass(asset_class="fan"))).life_recipes
    published = Shelf(models.make(1)[1], life(recipe=RECIPE.model_dump(mode="json")))
    assert recipe_of(published, "engine", named) == LifeRecipe(warn=9)
    assert recipe_of(published, "engine", {}) == RECIPE
    assert recipe_of(Shelf(life(recipe={}), models.make(1)[1]), "engine", {}) is None
    assert recipe_of(Shelf(), "engine", {}) is None


def test_a_recipe_of_another_program_is_not_guessed_at() -> None:
    """It has a word that this program does not know: name one in the settings."""
    with pytest.raises(BadInput, match="the recipe of version 1 of engine is none") as raised:
        recipe_of(Shelf(life(recipe={"wings": 2})), "engine", {})
    assert "[[trainer.life]]" in raised.value.hint


@pytest.mark.parametrize("wrong", [{"warn": 200}, {"settings": ("a", "a")}, {"latents": ()}, {"latents": (0,)}])
def test_a_recipe_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    """A warning beyond the cap, a setting twice, no latents."""
    with pytest.raises(ValidationError):
        LifeRecipe.model_validate(wrong)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that has it."""
    check_installed()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BadSetting, match="remaining life needs sklearn") as raised:
        check_installed()
    assert "headwater[train]" in raised.value.hint


def test_a_contest_is_told_with_what_is_out() -> None:
    """What could not be fitted, what the budget left out, and lives that were not learned from."""
    contest = {
        "figure": "rmse", "lives_compared": 20, "cycles_compared": 400, "budget_s": 5.0,
        "left_out_by_budget": {"life-network": 2}, "failed": {"life-ridge of 3 latents": "2 sensors move"},
    }  # fmt: skip
    names = [f"lyon/fan-{n}#1" for n in range(7)]
    rows = [{"name": "life-ridge", "latents": 2, "rmse": 8.5, "verdict": "ships"}]
    told = "\n".join(
        table({"challengers": rows, "contest": contest, "lives_left_out": {"goes on": {"count": 7, "names": names}}})
    )
    for words in (
        "20 lives left out (400 cycles)",
        "life-ridge of 3 latents is out: 2 sensors move",
        "2 more trials are beyond the budget of 5 s",
        "goes on: lyon/fan-0#1, lyon/fan-1#1, lyon/fan-2#1, lyon/fan-3#1, lyon/fan-4#1 and 2 more",
    ):
        assert words in told
