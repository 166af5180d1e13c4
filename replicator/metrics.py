"""What a link counts (docs: names begin with headwater_replicator_)."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge

from replicator.engine import Shipment
from replicator.mm2.formats import Checkpoint
from replicator.mm2.naming import Naming
from replicator.operating.figures import Window
from replicator.position import Gap
from replicator.records.chain import Tally
from replicator.settings import Direction
from replicator.way import Way

_PLACE = ["site", "topic", "direction"]
_SHIPPED = Counter("headwater_replicator_shipped_records", "Records acknowledged by the target", _PLACE)
_BYTES = Counter("headwater_replicator_shipped_bytes", "Bytes of the batches acknowledged", _PLACE)
_GAPS = Counter("headwater_replicator_gaps", "Places where records are missing, other or doubled", _PLACE)
_REPLACED = Counter(
    "headwater_replicator_replaced_records",
    "Records that the target did not take, for which something else stands there",
    [*_PLACE, "reason"],
)
_VOID = Counter("headwater_replicator_void_records", "Records older than the target's retention when shipped", _PLACE)
_FILTERED = Counter("headwater_replicator_filtered_records", "Records that a rule has left out", [*_PLACE, "rule"])
_UNREADABLE = Counter(
    "headwater_replicator_unreadable_records",
    "Records whose value a rule could not read, by why, and whether they were shipped or dropped",
    [*_PLACE, "rule", "reason", "outcome"],
)
_LAG = Gauge("headwater_replicator_lag_records", "Records that wait at the source, at most", _PLACE)
_LAG_S = Gauge("headwater_replicator_lag_seconds", "Age of what waits at the source, at most", _PLACE)
_HALTED = Gauge("headwater_replicator_halted_partitions", "Partitions that cannot go on by themselves", _PLACE)
_DRIFT = Gauge("headwater_replicator_config_drift", "Configurations of the target's topic that differ", _PLACE)

# MirrorCheckpointMetrics of Apache Kafka, as jmx_exporter names it; see operating/exporting.py.
_MIRROR_CHECKPOINT = "kafka_connect_mirror_mirrorcheckpointconnector_checkpoint_latency_ms"
_PLACE_OF_A_GROUP = ["source", "target", "group", "topic", "partition"]
_SAYS = "From a group's offset being seen at the source to its checkpoint at the target"
_CHECKPOINT = Gauge(_MIRROR_CHECKPOINT, _SAYS, _PLACE_OF_A_GROUP)
_CHECKPOINT_MIN = Gauge(f"{_MIRROR_CHECKPOINT}_min", f"{_SAYS}, least", _PLACE_OF_A_GROUP)
_CHECKPOINT_MAX = Gauge(f"{_MIRROR_CHECKPOINT}_max", f"{_SAYS}, most", _PLACE_OF_A_GROUP)
_CHECKPOINT_AVG = Gauge(f"{_MIRROR_CHECKPOINT}_avg", f"{_SAYS}, on average", _PLACE_OF_A_GROUP)


class Metrics:
    """Of one link: `site` and the direction that it ships in. Several may be in one process."""

    def __init__(self, site: str, direction: Direction) -> None:
        self._site, self._direction = site, direction
        self._checkpoints: dict[tuple[str, ...], Window] = {}

    def _of(self, topic: str) -> tuple[str, str, str]:
        return self._site, topic, self._direction

    def on_shipped(self, way: Way, shipment: Shipment) -> None:
        """Count what the target acknowledged."""
        _SHIPPED.labels(*self._of(way.topic)).inc(shipment.records)
        _BYTES.labels(*self._of(way.topic)).inc(shipment.size)

    def on_gap(self, gap: Gap) -> None:
        """Count a gap."""
        _GAPS.labels(*self._of(gap.topic)).inc()

    def on_drift(self, topic: str, count: int) -> None:
        """Say how many configurations of a topic differ."""
        _DRIFT.labels(*self._of(topic)).set(count)

    def on_replaced(self, way: Way, reason: str) -> None:
        """Count a record that the target did not take."""
        _REPLACED.labels(*self._of(way.topic), reason).inc()

    def on_filtered(self, way: Way, tally: Tally) -> None:
        """Count what rules did."""
        for rule, count in tally.filtered.items():
            _FILTERED.labels(*self._of(way.topic), rule).inc(count)
        for (rule, why, does), count in tally.unreadable.items():
            _UNREADABLE.labels(*self._of(way.topic), rule, why, does).inc(count)

    def on_void(self, way: Way, records: int) -> None:
        """Count records that the target will not keep."""
        _VOID.labels(*self._of(way.topic)).inc(records)

    def on_checkpoint(self, names: Naming, written: Checkpoint, seen_ms: int, now: int) -> None:
        """Say how long a checkpoint took; least, most and average are over 30 to 60 s, up to the newest one."""
        place = (names.source, names.target, written.group, written.topic, str(written.partition))
        window = self._checkpoints.setdefault(place, Window())
        window.add(now - seen_ms, now)
        gauges = (_CHECKPOINT, _CHECKPOINT_MIN, _CHECKPOINT_MAX, _CHECKPOINT_AVG)
        for gauge, value in zip(gauges, window.extremes(now), strict=True):
            gauge.labels(*place).set(value)

    def on_refused(self, topic: str) -> None:
        """Say that a topic cannot even begin, for now."""
        _HALTED.labels(*self._of(topic)).set(1)

    def watch(
        self, topic: str, lag: Callable[[], float], lag_s: Callable[[], float], halted: Callable[[], float]
    ) -> None:
        """Have the gauges of a topic answered by these functions, in records, seconds and partitions."""
        _LAG.labels(*self._of(topic)).set_function(lag)
        _LAG_S.labels(*self._of(topic)).set_function(lag_s)
        _HALTED.labels(*self._of(topic)).set_function(halted)
