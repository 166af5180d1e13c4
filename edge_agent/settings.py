"""Settings of one edge box."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_agent.bridge.route_settings import sparkplug_of, topics_of
from edge_agent.bridge.settings import BridgeSettings
from edge_agent.scorer.settings import ScorerSettings
from edge_agent.updater.settings import UpdaterSettings
from headwater.contract.names import Name, Site
from headwater.contract.topics import READINGS, TopicSpec, edge_topics, sparkplug_topics
from headwater.transport import settings as sources
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.mqtt.settings import MqttSettings


class EdgeSettings(BaseModel):
    """One site: its brokers, its state folder, and the three parts that run there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: Site = Field(description="Name of this plant: 1 to 40 of a-z, 0-9 and hyphen.")
    asset_classes: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Asset classes whose models this site runs; updater.asset_classes when unset."
    )
    kafka: KafkaSettings = Field(KafkaSettings(brokers="127.0.0.1:9092"), description="The Kafka cluster of the edge.")
    partitions: int = Field(4, ge=1, le=1000, description="Partitions of the edge topics, when they are created.")
    replication_factor: int = Field(1, ge=1, le=16, description="Copies of each partition, when topics are created.")
    retention_days: int = Field(7, ge=1, description="Days that readings and scores are kept, when topics are created.")
    mqtt: MqttSettings = Field(MqttSettings(), description="The MQTT broker that machines publish to.")
    bridge: BridgeSettings = Field(BridgeSettings(), description="From MQTT to Kafka.")
    scorer: ScorerSettings = Field(ScorerSettings(), description="From readings to scores and alarms.")
    updater: UpdaterSettings = Field(UpdaterSettings(), description="Signed models from the store to this box.")
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65533,
        description="Port of the bridge's Prometheus metrics; scorer and updater take the next two, or their own.",
    )
    metrics_address: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that bridge, scorer and updater serve metrics on; 0.0.0.0 in a container, to whoever "
        "reaches it.",
    )
    state_dir: Path | None = Field(
        None, description="Folder for what Headwater keeps on disk; HEADWATER_HOME, or its default, when unset."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.mqtt.share_group is not None and sparkplug_of(self.bridge.routes) is not None:
            raise ValueError("a Sparkplug route needs all messages of an edge node: unset edge.mqtt.share_group")
        return self

    @property
    def folder(self) -> Path:
        """Where this site keeps its files: `edge/<site>` below the state folder."""
        return (self.state_dir or sources.home()) / "edge" / self.site

    @property
    def topics(self) -> list[TopicSpec]:
        """The Kafka topics of this edge: Headwater's own, then those that routes write to, with what readings have."""
        own = edge_topics(self.partitions, self.retention_days)
        names = topics_of(self.bridge.routes)
        if sparkplug_of(self.bridge.routes) is not None:
            own += sparkplug_topics(self.partitions, self.retention_days)
        like = next(spec for spec in own if spec.name == READINGS)
        return [*own, *(replace(like, name=name) for name in names if all(name != spec.name for spec in own))]

    @property
    def for_scorer(self) -> ScorerSettings:
        """The scorer's settings, with what is set for the whole box."""
        port = self.scorer.metrics_port or self._port(1)
        return self.scorer.model_copy(update={"metrics_port": port, "metrics_address": self._address(self.scorer)})

    @property
    def for_updater(self) -> UpdaterSettings:
        """The updater's settings, with what is set for the whole box."""
        classes = self.asset_classes or self.updater.asset_classes
        port = self.updater.metrics_port or self._port(2)
        address = self._address(self.updater)
        return self.updater.model_copy(
            update={"asset_classes": classes, "metrics_port": port, "metrics_address": address}
        )

    def _port(self, number: int) -> int | None:
        return None if self.metrics_port is None else self.metrics_port + number

    def _address(self, part: ScorerSettings | UpdaterSettings) -> str:
        return part.metrics_address if "metrics_address" in part.model_fields_set else self.metrics_address
