"""Settings of the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud_trainer.drift.settings import DriftRecipe, Scheduled
from cloud_trainer.life.recipe import LifeClass, LifeRecipe
from cloud_trainer.recipe import Recipe
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.objects.store import ObjectSettings


class ParitySettings(BaseModel):
    """Where models must prove that they compute what training computed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtimes: tuple[Path, ...] = Field(
        (),
        description="Python interpreters of environments with the fleet's runtimes (make parity-envs); nothing is"
        " published without a certificate of each. The runtime that is installed here if none.",
    )


class TrainerSettings(BaseModel):
    """Where readings come from, where models go, and how they are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: KafkaSettings = Field(
        KafkaSettings(brokers="127.0.0.1:9092"), description="The cloud's Kafka cluster, that the sites replicate into."
    )
    objects: ObjectSettings = Field(
        default_factory=ObjectSettings, description="The store that signed models are published to."
    )
    keys: Path = Field(
        Path("keys"), description="Folder with root.json and the keys of models, snapshot and timestamp."
    )
    group: str = Field("headwater-trainer", min_length=1, description="Consumer group that shares out the requests.")
    recipe: Recipe = Field(Recipe(), description="How a model is made.")
    life: tuple[LifeClass, ...] = Field(
        (), description="Classes whose models say what remains of a life, each with how they are made."
    )
    parity: ParitySettings = Field(ParitySettings(), description="Which runtimes a model must be certified for.")
    runner: Literal["pool", "ray"] = Field(
        "pool", description="What works on many assets at once: processes of this machine, or Ray (extra `ray`)."
    )
    workers: int | None = Field(
        None, ge=1, description="Assets that are worked on at a time; as many as cores if none."
    )
    ray_address: str = Field(
        "", description="Cluster of the runner `ray`, such as auto or ray://head:10001; one on this machine if empty."
    )
    schedule: tuple[Scheduled, ...] = Field((), description="Classes that are trained anew every so often.")
    drift: DriftRecipe = Field(DriftRecipe(), description="When a class has drifted, so that training is asked for.")
    look_s: float = Field(60.0, gt=0, description="Seconds between two looks at the schedule and for drift.")
    label_lead_s: float = Field(
        86_400.0, ge=0, description="How long before a labelled fault an alarm still counts as its alarm, in seconds."
    )
    metrics_port: int | None = Field(None, ge=1, le=65535, description="Port of Prometheus metrics, if any.")
    metrics_address: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that metrics are served on; 0.0.0.0 in a container, to whoever reaches it.",
    )

    @property
    def life_recipes(self) -> dict[str, LifeRecipe]:
        """Recipes of the classes in `life`; of a class that is there twice the last."""
        return {each.asset_class: each.recipe for each in self.life}
