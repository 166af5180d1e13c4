"""How a model of remaining life is made: every number that training does not take from the data.

Chosen by cross-validation on training engines of C-MAPSS (docs/adr/remaining-life.md), where they are no plant's own.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headwater.contract.alarm import AlarmRule

Latents = Annotated[int, Field(ge=1, le=16)]


class LifeRecipe(BaseModel):
    """What a machine is asked and promised, and how its network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    settings: tuple[str, ...] = Field(
        (), description="Channels that say how the machine is run, such as altitude or load; the others are sensors."
    )
    most: float = Field(125.0, gt=0, le=100_000, description="Cycles beyond which remaining life is not told apart.")
    warn: float = Field(30.0, gt=0, description="Cycles: an alarm opens when fewer are predicted to remain.")
    is_lifelong: bool = Field(
        True, description="Whether features count from the overhaul; else the last 30 cycles only."
    )
    budget_s: float = Field(300.0, ge=0, description="Seconds on the reference core for the contest; 0: ridge alone.")
    seed: int = Field(1, ge=0, description="What networks begin with.")
    latents: tuple[Latents, ...] = Field(
        (2, 3), min_length=1, description="Numbers of latent values of the sensors of a cycle that are tried."
    )
    layers: tuple[int, ...] = Field((48, 24, 16), description="Widths of the network's hidden layers.")
    early: float = Field(1.36, gt=0, description="Times `most` before failure beyond which rows count less.")
    heed: float = Field(0.3, ge=0, le=1, description="How much these rows count.")
    epochs: float = Field(80.0, gt=0, description="How often each row is trained on.")
    folds: int = Field(5, ge=2, description="Parts of the assets for cross-validation.")
    missed: float = Field(0.1, gt=0, lt=1, description="Share of true values that intervals may miss.")
    every: int = Field(
        5,
        ge=1,
        description="Cycles between two rows that intervals are calibrated on; fewer in lives of less than 100.",
    )
    young: int = Field(
        20, ge=0, description="First cycles of a life that they are not calibrated on; at most a fifth of it."
    )
    open_after: int = Field(3, ge=1, description="Cycles in a row below `warn` that open an alarm.")
    close_after: int = Field(6, ge=1, description="Cycles in a row beyond the recovery level that close it.")
    recovery: float = Field(0.8, gt=0, le=1, description="Share of the threshold under which a score counts as well.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.warn >= self.most:
            raise ValueError(f"warn ({self.warn:g} cycles) must be below most ({self.most:g})")
        if len(set(self.settings)) != len(self.settings):
            raise ValueError("a setting is named twice")
        return self

    @property
    def rule(self) -> AlarmRule:
        """When alarms open and close."""
        return AlarmRule(self.open_after, self.close_after, self.recovery)


class LifeClass(LifeRecipe):
    """The recipe of one asset class."""

    asset_class: str = Field(description="Asset class, such as engine, whose models say what remains of a life.")

    @property
    def recipe(self) -> LifeRecipe:
        """The same without the class."""
        return LifeRecipe.model_validate(self.model_dump(exclude={"asset_class"}))
