"""What a link measures of itself, on a clock of the test."""

from __future__ import annotations

from headwater.transport.kafka_batch.road import Road
from replicator.operating.figures import Figures, Goodput, PartitionFigures, Window
from replicator.operating.roads import Roads
from replicator.way import Way


def test_a_rate_is_over_the_window_of_kafka() -> None:
    """A sum a second over two samples of 30 s; a window that has just begun counts as 30 s, as MirrorMaker's does."""
    window = Window()
    window.add(300, 1_000)
    assert window.rate(2_000) == 10.0
    window.add(300, 31_000)
    assert window.rate(41_000) == 15.0
    assert window.rate(70_000) == 300 / 39
    assert window.rate(200_000) == 0.0
    assert (window.extremes(40_000).least, window.extremes(200_000).last) == (300, 300)


def test_goodput_is_of_the_last_seconds() -> None:
    """What was acknowledged in the last 20 s, and nothing once nothing came for so long."""
    goodput = Goodput()
    for second in range(60):
        goodput.add(1000, second * 1000)
    assert 950 < goodput.now(59_000) < 1060
    assert goodput.now(79_500) == 0.0
    assert goodput.total == 60_000


def test_the_oldest_record_that_waits_is_known() -> None:
    """It is that of the oldest part that was fetched and is not shipped."""
    figures = PartitionFigures()
    figures.fetched(100, 190, 10, 1_000)
    figures.fetched(200, 290, 20, 1_000)
    assert figures.oldest_ms(0) == 100
    assert figures.oldest_ms(10) == 200
    assert figures.oldest_ms(20) is None
    link = Figures(lambda: 5_000)
    link.shipped(Way("s", "t", 0), 10, 1000, 4_000)
    found = link.of(Way("s", "t", 0))
    assert (found.records, found.record_bytes, found.latency.extremes(5_000).last) == (10, 100.0, 1_000)


def test_bytes_of_ended_connections_are_kept() -> None:
    """What a connection sent counts on when it has ended, and when its number is taken by another."""
    roads = Roads()
    roads.look({1: Road(0.1, 100, 5, 0), 2: Road(0.3, 900, 0, 0)})
    assert (roads.sent, roads.resent, roads.round_trip_ms) == (1000, 5, 300.0)
    roads.look({2: Road(0.3, 950, 1, 0)})
    roads.look({2: Road(0.2, 10, 0, 0)})
    assert (roads.sent, roads.resent) == (1060, 6)
    roads.look({})
    assert (roads.sent, roads.resent, roads.round_trip_ms) == (1060, 6, None)
