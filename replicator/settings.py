"""What a link is: one site, its edge cluster, the cloud cluster, and the topics that go across."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from headwater.contract import topics
from headwater.contract.names import Site
from headwater.transport.kafka_batch import KafkaSettings
from replicator.fresh.settings import FreshSettings
from replicator.links.settings import LinkSettings
from replicator.mm2.naming import Naming
from replicator.mm2.settings import MirrorSettings, NamingSettings, SelectionSettings, TopicConfigSettings
from replicator.proof.settings import ProofSettings
from replicator.records.settings import RecordRule, check
from replicator.way import BACKLOG, Way

GapPolicy = Literal["continue", "halt"]
Direction = Literal["up", "down"]


_TOPIC = re.compile(r"[A-Za-z0-9._-]+")  # Topic.LEGAL_CHARS of Apache Kafka
_LONGEST_TOPIC = 249  # Topic.MAX_NAME_LENGTH
_INT32 = 2**31 - 1  # bytes are told a broker in an int32


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("name each topic once")
    for name in names:
        if not _TOPIC.fullmatch(name) or name in {".", ".."}:
            raise ValueError(
                f"{name!r} cannot be a topic: Kafka takes letters, digits, dot, underscore and hyphen; "
                "patterns go into replicator.selection.include"
            )
    return names


class DownSettings(BaseModel):
    """The way down, from the target of the link to its source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topics: Annotated[tuple[str, ...], AfterValidator(_once)] = Field(
        default=(), description="topics of the cloud to bring to the site, such as hints; there they are cloud.hints"
    )


class ReplicatorSettings(BaseModel):
    """One link. Sizes are bytes on the wire, as compressed at the source."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    direction: ClassVar[Direction] = "up"  # as seen from the site

    site: Site = Field(description="site whose topics are shipped; a topic arrives as <site>.<topic>")
    source: KafkaSettings = Field(description="the site's own Kafka cluster")
    target: KafkaSettings = Field(description="the cloud's Kafka cluster")
    topics: Annotated[tuple[str, ...], AfterValidator(_once)] = Field(
        default=topics.REPLICATED, description="topics to ship, by their names at the site; none where patterns are set"
    )
    selection: SelectionSettings = Field(default=SelectionSettings(), description="topics to ship by pattern")
    naming: NamingSettings = Field(default=NamingSettings(), description="what a topic is called at the target")
    topic_configs: TopicConfigSettings = Field(
        default=TopicConfigSettings(), description="configuration of the topics at the target"
    )
    mm2: MirrorSettings = Field(default=MirrorSettings(), description="consumer groups, and MirrorMaker 2's records")
    records: tuple[RecordRule, ...] = Field(
        default=(), description="rules: which records of which topics are shipped, and what is changed in them"
    )
    mask_salt: SecretStr | None = Field(
        default=None,
        min_length=8,
        description="salt of the digests that rules mask fields with (a secret), at least 8 characters",
    )
    proof: ProofSettings = Field(default=ProofSettings(), description="what is proven beside the data")
    link: LinkSettings = Field(default=LinkSettings(), description="lanes, rates and budgets of the road to the target")
    down: DownSettings = Field(default=DownSettings(), description="what comes from the cloud by the same program")
    shared: bool = Field(
        default=False,
        description="whether several instances of this link run, set alike, and divide its partitions among themselves",
    )
    on_gap: GapPolicy = Field(
        default="continue",
        description="where records are gone before they were shipped: record the gap and go on, or halt the partition",
    )
    replication_factor: int = Field(default=1, ge=1, le=9, description="copies of each topic made at the target")
    fetch_wait_s: float = Field(default=0.5, gt=0, le=10, description="longest wait for new records in one fetch")
    fetch_bytes: int = Field(
        default=1 << 20, ge=1 << 12, le=_INT32, description="most that one fetch brings of all partitions"
    )
    partition_fetch_bytes: int = Field(
        default=256 << 10, ge=1 << 12, le=_INT32, description="most that one fetch brings of each"
    )
    backlog_bytes: int = Field(
        default=512 << 10,
        ge=1 << 12,
        le=_INT32,
        description="a partition with this much waiting to be shipped is not fetched",
    )
    position_interval_s: float = Field(default=5.0, gt=0, le=3600, description="time between stored positions")
    drain_s: float = Field(default=10.0, ge=0, le=3600, description="time to ship what is held after a request to stop")
    metrics_port: int | None = Field(default=None, ge=0, le=65535, description="port of the Prometheus metrics, if any")
    metrics_address: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address that metrics are served on; 0.0.0.0 in a container, to whoever reaches it",
    )

    @model_validator(mode="before")
    @classmethod
    def _patterns_alone(cls, given: Any) -> Any:
        """With patterns, the topics of a plant are not shipped unless they are named."""
        selection = given.get("selection") if isinstance(given, dict) else None
        include = selection.get("include") if isinstance(selection, dict) else getattr(selection, "include", None)
        return {**given, "topics": ()} if include and "topics" not in given else given

    @model_validator(mode="after")
    def _no_circles(self) -> ReplicatorSettings:
        if not self.topics and not self.selection.include:
            raise ValueError("name at least one topic, or a pattern")
        names = self.names
        if names.source == names.target:
            raise ValueError(f"naming: source and target are both called {names.source!r}; give one of them another")
        for topic in self.topics:
            if len(names.remote(topic)) > _LONGEST_TOPIC:
                raise ValueError(f"topics: {names.remote(topic)!r} is longer than Kafka's {_LONGEST_TOPIC} characters")
            if names.is_internal(topic):
                raise ValueError(f"{topic!r} belongs to a cluster or a link itself")
            if names.came_from_target(topic):
                raise ValueError(f"{topic!r} came from {names.target}: it would go round in circles")
            if not names.keeps_names and names.source in names.hops(topic):
                raise ValueError(f"{topic!r} was replicated from {names.source} already")
        return self

    @model_validator(mode="after")
    def _rules_apply(self) -> ReplicatorSettings:
        check(self.records, self.topics, has_salt=self.mask_salt is not None, may_be_others=self.may_ship_others)
        return self

    @model_validator(mode="after")
    def _contradictions(self) -> ReplicatorSettings:
        if self.fetch_bytes < self.partition_fetch_bytes:
            raise ValueError(
                f"fetch_bytes ({self.fetch_bytes}) is below partition_fetch_bytes ({self.partition_fetch_bytes}): "
                "one fetch would not hold what a single partition may bring"
            )
        for pattern in self.link.fresh_first.topics:
            alone = FreshSettings(topics=(pattern,))
            if not self.may_ship_others and not any(map(alone.has, self.topics)):
                raise ValueError(f"link.fresh_first.topics: {pattern!r} is none that the link ships")
        return self

    @model_validator(mode="after")
    def _down_is_a_link(self) -> ReplicatorSettings:
        """Here, not when the way down begins: what cannot be is said where settings are looked at."""
        try:
            _ = self.down_link
        except ValidationError as error:
            said = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"down.topics: {said}") from error
        return self

    @property
    def down_link(self) -> DownLink | None:
        """The link from the cloud to the site, if there is one; what it keeps for itself is at the site."""
        if not self.down.topics:
            return None
        names = self.names
        return DownLink(
            site=self.site,
            source=self.target,
            target=self.source,
            topics=self.down.topics,
            naming=NamingSettings(source_alias=names.target, target_alias=names.source, separator=names.separator),
            on_gap=self.on_gap,
            shared=self.shared,
            proof=self.proof,
            metrics_port=self.metrics_port,
            position_interval_s=self.position_interval_s,
            drain_s=self.drain_s,
        )

    @property
    def names(self) -> Naming:
        """What topics are called at the target."""
        return self.naming.of(self.site)

    @property
    def may_ship_others(self) -> bool:
        """Whether topics are shipped that are not named."""
        return bool(self.selection.include) or self.mm2.publish

    def ships(self, topic: str) -> bool:
        """Whether a topic that exists at the source is shipped: it is named, fits a pattern, or holds heartbeats."""
        names = self.names
        beats = self.mm2.publish and names.is_heartbeats(topic) and not names.came_from_target(topic)
        return topic in self.topics or self.selection.fits(names, topic) or beats

    def way(self, topic: str, partition: int) -> Way:
        """The way of a partition of a source topic, or of a backlog under the name that the link remembers it by."""
        if topic.endswith(BACKLOG):
            return self.backlog_way(topic.removesuffix(BACKLOG), partition)
        name = self.names.remote(topic)
        usual = name == f"{self.site}.{topic}" and "." not in topic
        return Way(self.site, topic, partition, "" if usual else name)

    def backlog_way(self, topic: str, partition: int) -> Way:
        """The way of what is set aside of a partition of a source topic."""
        return Way(self.site, topic, partition, f"{self.names.remote(topic)}.backlog", aside=True)


class DownLink(ReplicatorSettings):
    """The link from the cloud to the site, which the same process runs."""

    direction: ClassVar[Direction] = "down"
