"""What a link is: one site, its edge cluster, the cloud cluster, and the topics that go across."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from headwater.contract import topics
from headwater.contract.names import Site
from headwater.transport.kafka_batch import KafkaSettings

GapPolicy = Literal["continue", "halt"]


def _local_topics(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or len(set(names)) != len(names):
        raise ValueError("name at least one topic, and each once")
    dotted = [name for name in names if "." in name]
    if dotted:
        raise ValueError(f"{dotted[0]!r} has a dot: it was replicated already")
    return names


class ReplicatorSettings(BaseModel):
    """One link. Sizes are bytes on the wire, as compressed at the source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: Site = Field(description="site whose topics are shipped; a topic arrives as <site>.<topic>")
    source: KafkaSettings = Field(description="the site's own Kafka cluster")
    target: KafkaSettings = Field(description="the cloud's Kafka cluster")
    topics: Annotated[tuple[str, ...], AfterValidator(_local_topics)] = Field(
        default=topics.REPLICATED, description="topics to ship, by their names at the site"
    )
    on_gap: GapPolicy = Field(
        default="continue",
        description="where records are gone before they were shipped: record the gap and go on, or halt the partition",
    )
    replication_factor: int = Field(default=1, ge=1, le=9, description="copies of each topic made at the target")
    fetch_wait_s: float = Field(default=0.5, gt=0, le=10, description="longest wait for new records in one fetch")
    fetch_bytes: int = Field(default=1 << 20, ge=1 << 12, description="most that one fetch brings of all partitions")
    partition_fetch_bytes: int = Field(default=256 << 10, ge=1 << 12, description="most that one fetch brings of each")
    backlog_bytes: int = Field(
        default=512 << 10, ge=1 << 12, description="a partition with this much waiting to be shipped is not fetched"
    )
    position_interval_s: float = Field(default=5.0, gt=0, description="time between stored positions")
    drain_s: float = Field(default=10.0, ge=0, description="time to ship what is held after a request to stop")
    metrics_port: int | None = Field(default=None, ge=0, le=65535, description="port of the Prometheus metrics, if any")
    metrics_address: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address that metrics are served on; 0.0.0.0 in a container, to whoever reaches it",
    )
