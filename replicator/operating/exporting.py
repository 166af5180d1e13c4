"""A link's metrics for Prometheus: MirrorMaker 2's names as its JMX exporter gives them, and what it does not have.

The names follow the rules that Strimzi and others ship for jmx_exporter (MirrorSourceConnector, lowercased), with the
labels of MirrorSourceMetrics in Apache Kafka: dashboards for MirrorMaker 2 show this link. Two differ in meaning, both
because batches are not unpacked: bytes are those of compressed batches, not of values; ages and latencies are those of
the newest record of each batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from replicator.operating.figures import Figures, PartitionFigures, Window
from replicator.operating.live import LaneView, PartitionView, Snapshot
from replicator.operating.observer import by_topic
from replicator.settings import ReplicatorSettings

MM2 = "kafka_connect_mirror_mirrorsourceconnector_"
OURS = "headwater_replicator_"
_PATIENCE_S = 2.0
_Values = Callable[[PartitionFigures, int], float]


def _extremes(name: str, says: str, of: Callable[[PartitionFigures], Window]) -> list[tuple[str, str, _Values]]:
    return [
        (name, f"{says}.", lambda f, now: of(f).extremes(now).last),
        (f"{name}_min", f"{says}, least.", lambda f, now: of(f).extremes(now).least),
        (f"{name}_max", f"{says}, most.", lambda f, now: of(f).extremes(now).most),
        (f"{name}_avg", f"{says}, on average.", lambda f, now: of(f).extremes(now).mean),
    ]


_MIRRORED: list[tuple[str, str, _Values]] = [
    ("record_count", "Records that the target has acknowledged in this life.", lambda f, _: f.records),
    ("record_rate", "The same a second, over 30 to 60 s.", lambda f, now: f.record_window.rate(now)),
    ("byte_count", "Bytes of the batches of these records, as compressed.", lambda f, _: f.bytes),
    ("byte_rate", "The same a second.", lambda f, now: f.byte_window.rate(now)),
    *_extremes("record_age_ms", "Age of the newest record of a part when it was fetched", lambda f: f.age),
    *_extremes(
        "replication_latency_ms", "Age of the newest record of a batch at its acknowledgement", lambda f: f.latency
    ),
]


class Exported(Collector):
    """Answers Prometheus from what a link tells; registers itself, once a process.

    Prometheus asks in a thread of its own, and is answered on the `loop` that the link runs on.
    """

    def __init__(
        self,
        settings: ReplicatorSettings,
        figures: Figures,
        snapshot: Callable[[], Snapshot],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._settings, self._figures, self._snapshot = settings, figures, snapshot
        self._loop = loop
        REGISTRY.register(self)

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that nothing is asked while the link is not there."""
        return []

    def collect(self) -> Iterable[Metric]:
        """All metrics, at this moment; none when the link does not answer."""
        if self._loop is None:
            return list(self._all())
        answer: Future[list[Metric]] = Future()
        try:
            self._loop.call_soon_threadsafe(lambda: answer.set_result(list(self._all())))
            return answer.result(_PATIENCE_S)
        except (TimeoutError, RuntimeError):  # RuntimeError: the loop has ended
            return []

    def _all(self) -> Iterator[Metric]:
        now = self._snapshot()
        yield from self._mirrored(now.at)
        yield from _link(self._settings.site, now)
        yield from _lanes(self._settings.site, now)
        yield from _topics(self._settings.site, now)

    def _mirrored(self, now: int) -> Iterator[Metric]:
        ends = [self._settings.site, self._settings.names.target]
        for name, says, value in _MIRRORED:
            family = GaugeMetricFamily(MM2 + name, says, labels=["source", "target", "topic", "partition"])
            for way, figures in list(self._figures.partitions.items()):
                family.add_metric([*ends, way.target, str(way.partition)], value(figures, now))
            yield family


def _link(site: str, now: Snapshot) -> Iterator[Metric]:
    gauges: list[tuple[str, str, float | None]] = [
        ("goodput_bytes_per_second", "Bytes that the target acknowledges a second.", now.goodput_bytes_s),
        ("round_trip_seconds", "Round trip to the target, smoothed by TCP.", _seconds(now.round_trip_ms)),
        ("eta_seconds", "Until all that waits is shipped; absent: never at this rate.", now.eta_s),
        ("rate_bytes_per_second", "At which batches leave; absent where they leave as they come.", now.rate_bytes_s),
        ("connections", "Live connections to the target.", float(now.connections)),
        ("budget_left_bytes", "What may still be sent of the byte budget; absent without one.", now.budget_left_bytes),
        ("open", "1 once both clusters have answered and topics are under way.", float(now.open)),
    ]
    for name, says, value in gauges:
        family = GaugeMetricFamily(OURS + name, says, labels=["site"])
        if value is not None:
            family.add_metric([site], value)
        yield family
    counters = [
        ("sent_bytes", "Bytes on the road to the target, TLS and what was sent again included.", now.sent_bytes),
        ("wasted_bytes", "Of these: sent again by TCP, or in batches that nobody acknowledged.", now.wasted_bytes),
    ]
    for name, says, count in counters:
        counter = CounterMetricFamily(OURS + name, says, labels=["site"])
        counter.add_metric([site], count)
        yield counter


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


def _lanes(site: str, now: Snapshot) -> Iterator[Metric]:
    per_lane: list[tuple[str, str, Callable[[LaneView], float]]] = [
        ("lane_lag_records", "Records of a lane that wait at the source, at most.", lambda lane: lane.lag_records),
        ("lane_lag_bytes", "Their bytes, estimated from what was shipped.", lambda lane: lane.lag_bytes),
        ("lane_oldest_unshipped_seconds", "Age of the oldest of them that was fetched.", _age_s),
        ("lane_share", "Of the link, while more waits in all lanes than it carries.", lambda lane: lane.share),
        ("lane_shut", "1 while its hours or the budget keep a lane from sending.", lambda lane: float(bool(lane.shut))),
    ]
    for name, says, value in per_lane:
        family = GaugeMetricFamily(OURS + name, says, labels=["site", "lane"])
        for lane in now.lanes:
            family.add_metric([site, lane.name], value(lane))
        yield family
    sent = CounterMetricFamily(
        OURS + "lane_sent_bytes", "Bytes of batches that left in a lane.", labels=["site", "lane"]
    )
    for lane in now.lanes:
        sent.add_metric([site, lane.name], lane.sent_bytes)
    yield sent


def _age_s(lane: LaneView) -> float:
    return (lane.age_ms or 0) / 1000


def _topics(site: str, now: Snapshot) -> Iterator[Metric]:
    per_topic: list[tuple[str, str, Callable[[Sequence[PartitionView]], float]]] = [
        ("lag_bytes", "Bytes that wait at the source, estimated from what was shipped.", _lag_bytes),
        ("oldest_unshipped_seconds", "Age of the oldest record that was fetched and is not at the target.", _oldest_s),
        ("paused", "1 while a topic is paused.", lambda found: float(any(each.state == "paused" for each in found))),
        (
            "doubted_partitions",
            "Partitions whose target does not hold what was shipped.",
            lambda found: sum(bool(each.doubted) for each in found),
        ),
    ]
    topics = by_topic(now.partitions)
    for name, says, value in per_topic:
        family = GaugeMetricFamily(OURS + name, says, labels=["site", "topic"])
        for topic, found in topics.items():
            family.add_metric([site, topic], value(found))
        yield family
    safe = GaugeMetricFamily(
        OURS + "safe_to_delete_offset",
        "Offset at the source before which all is shipped, acknowledged and proven; absent where nothing is.",
        labels=["site", "topic", "partition"],
    )
    for each in now.partitions:
        if each.safe_to_delete is not None:
            safe.add_metric([site, each.topic, str(each.partition)], each.safe_to_delete)
    yield safe


def _lag_bytes(found: Sequence[PartitionView]) -> float:
    return sum(each.lag_bytes for each in found)


def _oldest_s(found: Sequence[PartitionView]) -> float:
    return max((each.age_ms or 0 for each in found), default=0) / 1000
