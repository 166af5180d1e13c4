"""What the bridge tells, as Prometheus metrics.

One scrape is one moment: the snapshot is taken on the event loop, between two effects, so that the counts of a scrape
add up. Labels are the routes of the settings; assets are counted and not named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import fields

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from edge_agent.bridge.counts import Counts
from edge_agent.bridge.live import Snapshot, SparkplugView, SpoolView

_PATIENCE_S = 2.0
_PREFIX = "headwater_bridge_"
_REFUSED = "refused "
_ALWAYS = ("births", "deaths", "gaps", "late", "rebirths-asked", "rebirths-throttled", "rebirths-withheld", "repeated")


def export(snapshot: Callable[[], Snapshot], registry: CollectorRegistry = REGISTRY) -> None:
    """Show what `snapshot` gives, taken on the event loop that is running now; at once where none is."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None

    class Collected(Collector):
        def describe(self) -> list[Metric]:
            """Nothing: the loop that would answer is the one that registers."""
            return []

        def collect(self) -> Iterator[Metric]:
            found = snapshot() if loop is None or not loop.is_running() else _on(loop, snapshot)
            if found is not None:
                yield from _metrics(found)

    registry.register(Collected())


def _on(loop: asyncio.AbstractEventLoop, snapshot: Callable[[], Snapshot]) -> Snapshot | None:
    """None when the loop has no time; a scrape without us says so by what is missing."""
    answer: Future[Snapshot] = Future()

    def take() -> None:
        if answer.set_running_or_notify_cancel():
            answer.set_result(snapshot())

    loop.call_soon_threadsafe(take)
    try:
        return answer.result(_PATIENCE_S)
    except TimeoutError:
        answer.cancel()
        return None


def _metrics(now: Snapshot) -> Iterator[Metric]:
    for each in fields(Counts):
        kind = GaugeMetricFamily if each.name == "waiting" else CounterMetricFamily
        yield kind(_PREFIX + each.name, each.metadata["help"], value=now.counts.get(each.name, 0))
    spool = now.spool or SpoolView(0, 0, 0, 0)
    yield CounterMetricFamily(
        f"{_PREFIX}spool_syncs", "How often this life has waited for the spool's disk.", value=spool.syncs
    )
    for name, meaning, value in _gauges(now, spool):
        yield GaugeMetricFamily(_PREFIX + name, meaning, value=value)
    received = CounterMetricFamily(f"{_PREFIX}route_received", "Messages that came for a route.", labels=["route"])
    refused = CounterMetricFamily(
        f"{_PREFIX}route_refused", "Messages of a route that went to dead-letters; without a name: no route fits.",
        labels=["route"],
    )  # fmt: skip
    for route in now.routes:
        received.add_metric([route.match], route.received)
        refused.add_metric([route.match], route.refused)
    yield from (received, refused)
    if now.sparkplug is not None:
        yield from _sparkplug(now.sparkplug)


def _sparkplug(now: SparkplugView) -> Iterator[Metric]:
    prefix = f"{_PREFIX}sparkplug_"
    refused = CounterMetricFamily(
        f"{prefix}refused", "Sparkplug messages that went to dead-letters, by reason.", labels=["reason"]
    )
    happened = CounterMetricFamily(
        f"{prefix}events",
        "What happened to Sparkplug messages, by name: births, deaths, gaps (messages lost), rebirths-asked, late, ...",
        labels=["event"],
    )
    for name in _ALWAYS:
        happened.add_metric([name], now.events.get(name, 0))
    for name, count in sorted(now.events.items()):
        if name.startswith(_REFUSED):
            refused.add_metric([name.removeprefix(_REFUSED)], count)
        elif name not in _ALWAYS:
            happened.add_metric([name], count)
    yield from (refused, happened)
    for name, meaning, value in [
        ("edge_nodes", "Edge nodes that were heard of.", now.edge_nodes),
        ("edge_nodes_online", "Edge nodes that were born and have not died since.", now.online),
        ("edge_nodes_unborn", "Edge nodes whose data nobody can name: their birth was waited for in vain.", now.unborn),
        ("edge_nodes_gapped", "Edge nodes that lost a message and were not born again since.", now.gapped),
        ("devices", "Devices that are born.", now.devices),
        ("stale_assets", "Edge nodes and devices whose metrics are not current.", now.stale),
        ("held", "Messages that wait for an earlier one, at most for reorder_ms.", now.held),
    ]:
        yield GaugeMetricFamily(prefix + name, meaning, value=value)


def _gauges(now: Snapshot, spool: SpoolView) -> list[tuple[str, str, float]]:
    clocks = now.clocks
    return [
        (
            "unaccounted",
            "Messages that counts and places disagree about: 0 unless something is wrong.",
            now.unaccounted,
        ),
        ("connected", "1 while the MQTT broker has our subscription, 0 otherwise.", now.connected),
        ("unacknowledged", "Messages of the MQTT connection that are not acknowledged.", now.unacknowledged),
        ("held_bytes", "Bytes of records on their way to Kafka.", now.held_bytes),
        ("spool_bytes", "Bytes that the spool takes.", spool.bytes),
        (
            "spool_messages",
            "Messages in the spool that are not known to be in Kafka; at a start without Kafka an upper bound.",
            spool.records,
        ),
        ("spool_most_bytes", "Bytes that the spool may take.", spool.most_bytes),
        ("spool_oldest_seconds", "Age of the oldest message in the spool.", spool.age_ms / 1000),
        ("clocks", "Assets whose clocks are estimated.", clocks.known),
        ("clocks_off", "Assets whose clocks are off by more than edge.bridge.clock_tolerance_s.", clocks.off),
        (
            "clock_most_ahead_seconds",
            "How far an asset's clock is ahead, at most.",
            clocks.most_ahead_ms / 1000,
        ),
        (
            "clock_most_behind_seconds",
            "How far an asset's clock is behind, at most.",
            clocks.most_behind_ms / 1000,
        ),
    ]
