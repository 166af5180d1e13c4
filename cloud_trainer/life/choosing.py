"""Which classes are asked how much of a life is left, and by which recipe."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

import msgspec
import pydantic

from cloud_trainer.life.recipe import LifeRecipe
from cloud_trainer.tracing.models import Versions
from headwater.contract.errors import BadInput, BadSetting
from headwater.contract.manifest import MANIFEST_FILE, decode_manifest, model_path


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
    versions = models.versions(asset_class)
    if not versions:
        return None
    manifest = decode_manifest(models.read(model_path(asset_class, versions[-1], MANIFEST_FILE)))
    if manifest.life is msgspec.UNSET:
        return None
    try:
        return LifeRecipe.model_validate(manifest.metrics.get("recipe", {}))
    except pydantic.ValidationError as error:
        raise BadInput(
            f"the recipe of version {versions[-1]} of {asset_class} is none that this program knows",
            hint="name one in headwater.toml: [[trainer.life]]",
        ) from error
