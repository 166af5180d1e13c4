"""The Sparkplug benchmark: what it measures, and when it refuses to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bench import sparkplug
from bench.bridge.bed import Bed, open_bed
from bench.bridge.systems import TOPICS
from bench.sparkplug import METRICS, Run, figures
from headwater.contract.topics import sparkplug_topics
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch.settings import KafkaSettings
from tests.services import demand

GOOD = Run(1000, 0, 0, 0, 90_000.0, 5.0, 50.0)


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    """The services of the benchmark."""
    with ExitStack() as stack:
        found = demand(lambda: stack.enter_context(open_bed(TOPICS, print)))
        ensure_topics(KafkaSettings(brokers=found.brokers), sparkplug_topics())
        yield found


def test_every_sample_goes_through_the_bridge_once(bed: Bed) -> None:
    """By its name, though the data have aliases only; a rate and what it costs come out."""
    found = sparkplug.run(bed, 3000)

    assert (found.messages, found.lost, found.twice, found.wrong) == (3000, 0, 0, 0)
    assert found.metrics_per_s > 1000
    assert 0 < found.cpu_us < 1000
    assert found.peak_mb > 10


def test_a_sample_that_was_lost_is_noticed(bed: Bed) -> None:
    """Of which the edge node never said a word, though it counted it."""
    found = sparkplug.run(bed, 1000, leave_out=7, patience_s=3.0)

    assert (found.lost, found.twice, found.wrong) == (1, 0, 0)


def test_figures_have_a_median_and_a_spread() -> None:
    """Of good runs only: where one lost a sample there is no rate to speak of."""
    rate, *_ = figures([GOOD, GOOD, Run(1000, 0, 0, 0, 70_000.0, 6.0, 50.0)])
    assert (rate.value, rate.spread) == (90_000.0, (70_000.0, 90_000.0))
    refused, *_, lost, _ = figures([GOOD, Run(1000, 1, 0, 0, 70_000.0, 6.0, 50.0)])
    assert (refused.value, lost.met) == (None, False)
    assert METRICS == 8
