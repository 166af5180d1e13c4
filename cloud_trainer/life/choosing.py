"""Which classes are asked how much of a life is left, and by which recipe."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

import msgspec
import pydantic

from cloud_trainer.life.recipe import LifeRecipe
from cloud_trainer.tracing.models import Versions, manifests
from headwater.contract.errors import BadInput, BadSetting


def check_installed() -> None:
    """BadSetting where what trains models of remaining life is not installed."""
    for name in ("sklearn", "threadpoolctl"):
        if importlib.util.find_spec(name) is None:
            raise BadSetting(
                f"remaining life needs {name}", hint="install the extra `train`: pip install 'headwater[train]'"
            )


def recipe_of(models: Versions, asset_class: str, named: Mapping[str, LifeRecipe]) -> LifeRecipe | None:
    """The recipe that is named for a class, or that of its newest version; None where that finds anomalies.

    BadInput where the newest version was made by a recipe that this program does not know.
    """
    if asset_class in named:
        return named[asset_class]
    manifest = next(manifests(models, asset_class), None)
    if manifest is None or manifest.life is msgspec.UNSET:
        return None
    try:
        return LifeRecipe.model_validate(manifest.metrics.get("recipe", {}))
    except pydantic.ValidationError as error:
        raise BadInput(
            f"the recipe of version {manifest.version} of {asset_class} is none that this program knows",
            hint="name one in headwater.toml: [[trainer.life]]",
        ) from error
