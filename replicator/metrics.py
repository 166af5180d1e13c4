"""What a link counts (docs: names begin with headwater_replicator_)."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge

from replicator.engine import Shipment
from replicator.position import Gap
from replicator.way import Way

_SHIPPED = Counter("headwater_replicator_shipped_records", "Records acknowledged by the target", ["site", "topic"])
_BYTES = Counter("headwater_replicator_shipped_bytes", "Bytes of the batches acknowledged", ["site", "topic"])
_GAPS = Counter("headwater_replicator_gaps", "Places where records are missing, other or doubled", ["site", "topic"])
_REPLACED = Counter(
    "headwater_replicator_replaced_records",
    "Records that the target did not take, for which something else stands there",
    ["site", "topic", "reason"],
)
_VOID = Counter(
    "headwater_replicator_void_records", "Records older than the target's retention when shipped", ["site", "topic"]
)
_LAG = Gauge("headwater_replicator_lag_records", "Records that wait at the source, at most", ["site", "topic"])
_LAG_S = Gauge("headwater_replicator_lag_seconds", "Age of what waits at the source, at most", ["site", "topic"])
_HALTED = Gauge(
    "headwater_replicator_halted_partitions", "Partitions that cannot go on by themselves", ["site", "topic"]
)
_DRIFT = Gauge(
    "headwater_replicator_config_drift", "Configurations of the target's topic that differ", ["site", "topic"]
)


def on_shipped(way: Way, shipment: Shipment) -> None:
    """Count what the target acknowledged."""
    _SHIPPED.labels(way.site, way.topic).inc(shipment.records)
    _BYTES.labels(way.site, way.topic).inc(shipment.size)


def on_gap(site: str, gap: Gap) -> None:
    """Count a gap."""
    _GAPS.labels(site, gap.topic).inc()


def on_drift(site: str, topic: str, count: int) -> None:
    """Say how many configurations of a topic differ."""
    _DRIFT.labels(site, topic).set(count)


def on_replaced(way: Way, reason: str) -> None:
    """Count a record that the target did not take."""
    _REPLACED.labels(way.site, way.topic, reason).inc()


def on_void(way: Way, records: int) -> None:
    """Count records that the target will not keep."""
    _VOID.labels(way.site, way.topic).inc(records)


def watch(
    site: str, topic: str, lag: Callable[[], float], lag_s: Callable[[], float], halted: Callable[[], float]
) -> None:
    """Have the gauges of a topic answered by these functions, in records, seconds and partitions."""
    _LAG.labels(site, topic).set_function(lag)
    _LAG_S.labels(site, topic).set_function(lag_s)
    _HALTED.labels(site, topic).set_function(halted)
