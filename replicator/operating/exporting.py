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

from replicator.operating.figures import PartitionFigures, Window
from replicator.operating.live import LaneView, PartitionView, Snapshot
from replicator.operating.observer import Observer, by_topic

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
    """Answers Prometheus from what a link and the way down beside it tell; registers itself, once a process.

    Prometheus asks in a thread of its own, and is answered on the `loop` that the link runs on.
    """

    def __init__(self, observer: Observer, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._observer = observer
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
        ways = self._observer.snapshot().ways
        yield from self._mirrored(ways[0].at)
        yield from _links(ways)
        yield from _lanes(ways)
        yield from _topics(ways)

    def _mirrored(self, now: int) -> Iterator[Metric]:
        watched = [each for each in (self._observer, self._observer.down) if each is not None]
        for name, says, value in _MIRRORED:
            family = GaugeMetricFamily(MM2 + name, says, labels=["source", "target", "topic", "partition"])
            for observer in watched:
                names = observer.settings.names
                for way, figures in list(observer.figures.partitions.items()):
                    labels = [names.source, names.target, way.target, str(way.partition)]
                    family.add_metric(labels, value(figures, now))
            yield family


_LINK: list[tuple[str, str, Callable[[Snapshot], float | None]]] = [
    ("goodput_bytes_per_second", "Bytes that the target acknowledges a second.", lambda now: now.goodput_bytes_s),
    ("round_trip_seconds", "Round trip to the target, smoothed by TCP.", lambda now: _seconds(now.round_trip_ms)),
    (
        "eta_seconds",
        "Until all that waits is shipped; absent where `watch` says why not.",
        lambda now: now.eta_s,
    ),
    (
        "rate_bytes_per_second",
        "At which batches leave; absent where they leave as they come.",
        lambda now: now.rate_bytes_s,
    ),
    ("connections", "Live connections to the target.", lambda now: now.connections),
    (
        "budget_left_bytes",
        "What may still be sent of the byte budget; absent without one.",
        lambda now: now.budget_left_bytes,
    ),
    ("open", "1 once both clusters have answered and topics are under way.", lambda now: now.open),
    (
        "ended",
        "1 where nothing goes on in this direction, for the trouble that status names.",
        lambda now: now.failed != "",
    ),
]
_SENT: list[tuple[str, str, Callable[[Snapshot], float]]] = [
    (
        "sent_bytes",
        "Bytes on the road to the target, TLS and what was sent again included.",
        lambda now: now.sent_bytes,
    ),
    (
        "wasted_bytes",
        "Of these: sent again by TCP, or in batches that nobody acknowledged.",
        lambda now: now.wasted_bytes,
    ),
]


def _links(ways: Sequence[Snapshot]) -> Iterator[Metric]:
    for name, says, value in _LINK:
        family = GaugeMetricFamily(OURS + name, says, labels=["site", "direction"])
        for now in ways:
            if (found := value(now)) is not None:
                family.add_metric([now.site, now.direction], found)
        yield family
    for name, says, count in _SENT:
        counter = CounterMetricFamily(OURS + name, says, labels=["site", "direction"])
        for now in ways:
            counter.add_metric([now.site, now.direction], count(now))
        yield counter


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


_LANE: list[tuple[str, str, Callable[[LaneView], float]]] = [
    ("lane_lag_records", "Records of a lane that wait at the source, at most.", lambda lane: lane.lag_records),
    ("lane_lag_bytes", "Their bytes, estimated from what was shipped.", lambda lane: lane.lag_bytes),
    (
        "lane_oldest_unshipped_seconds",
        "Age of the oldest of them that was fetched.",
        lambda lane: (lane.age_ms or 0) / 1000,
    ),
    ("lane_share", "Of the link, while more waits in all lanes than it carries.", lambda lane: lane.share),
    ("lane_shut", "1 while its hours or the budget keep a lane from sending.", lambda lane: float(bool(lane.shut))),
]


def _lanes(ways: Sequence[Snapshot]) -> Iterator[Metric]:
    labels = ["site", "lane", "direction"]
    found = [([now.site, lane.name, now.direction], lane) for now in ways for lane in now.lanes]
    for name, says, value in _LANE:
        family = GaugeMetricFamily(OURS + name, says, labels=labels)
        for place, lane in found:
            family.add_metric(place, value(lane))
        yield family
    sent = CounterMetricFamily(OURS + "lane_sent_bytes", "Bytes of batches that left in a lane.", labels=labels)
    for place, lane in found:
        sent.add_metric(place, lane.sent_bytes)
    yield sent


_TOPIC: list[tuple[str, str, Callable[[Sequence[PartitionView]], float]]] = [
    (
        "lag_bytes",
        "Bytes that wait at the source, estimated from what was shipped.",
        lambda found: sum(each.lag_bytes for each in found),
    ),
    (
        "oldest_unshipped_seconds",
        "Age of the oldest record that was fetched and is not at the target.",
        lambda found: max((each.age_ms or 0 for each in found), default=0) / 1000,
    ),
    ("paused", "1 while a topic is paused.", lambda found: float(any(each.state == "paused" for each in found))),
    (
        "doubted_partitions",
        "Partitions whose target does not hold what was shipped.",
        lambda found: sum(bool(each.doubted) for each in found),
    ),
]


def _topics(ways: Sequence[Snapshot]) -> Iterator[Metric]:
    for name, says, value in _TOPIC:
        family = GaugeMetricFamily(OURS + name, says, labels=["site", "topic", "direction"])
        for now in ways:
            for topic, found in by_topic(now.partitions).items():
                family.add_metric([now.site, topic, now.direction], value(found))
        yield family
    safe = GaugeMetricFamily(
        OURS + "safe_to_delete_offset",
        "Offset at the source before which all is shipped, acknowledged and proven; absent where nothing is.",
        labels=["site", "topic", "partition", "direction"],
    )
    for now in ways:
        for each in now.partitions:
            if each.safe_to_delete is not None:
                place = [now.site, each.topic, str(each.partition), now.direction]
                safe.add_metric(place, each.safe_to_delete)
    yield safe
