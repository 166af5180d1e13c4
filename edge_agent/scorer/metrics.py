"""What the scorer counts. Prometheus's client is loaded only where metrics are asked for: it costs 4 MB."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

DELAYS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)

HELP: Mapping[str, str] = {
    "readings": "Readings judged in this life, replayed ones included.",
    "scores": "Scores written and acknowledged.",
    "alarms": "Alarm records written and acknowledged.",
    "dead_letters": "Records of readings that could not be used.",
    "checkpoints": "Checkpoints written and acknowledged.",
}


@dataclass
class Counts:
    """Counts of this life. `delays` are those of DELAYS_S and one above, `delay_s` is their sum in seconds."""

    readings: int = 0
    scores: int = 0
    alarms: int = 0
    dead_letters: int = 0
    checkpoints: int = 0
    lag: dict[int, int] = field(default_factory=dict)  # by partition
    versions: dict[str, int] = field(default_factory=dict)  # by asset class
    void: int = 0  # machines whose limits do not hold
    delays: list[int] = field(default_factory=lambda: [0] * (len(DELAYS_S) + 1))
    delay_s: float = 0.0

    def delayed(self, seconds: float) -> None:
        """Count the time from a reading's timestamp in Kafka to the acknowledgement of what was said about it."""
        self.delays[bisect_left(DELAYS_S, seconds)] += 1
        self.delay_s += seconds


def export(counts: Counts) -> None:
    """Show the counts as `headwater_scorer_...` to Prometheus."""
    from prometheus_client import REGISTRY  # noqa: PLC0415  # only where metrics are asked for
    from prometheus_client.core import (  # noqa: PLC0415  # only where metrics are asked for
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector  # noqa: PLC0415  # as above

    class Collected(Collector):
        def collect(self) -> list[Metric]:
            found: list[Metric] = [
                CounterMetricFamily(f"headwater_scorer_{name}", help_, value=getattr(counts, name))
                for name, help_ in HELP.items()
            ]
            lag = GaugeMetricFamily("headwater_scorer_lag_readings", "Readings not judged yet.", labels=["partition"])
            for number, value in counts.lag.items():
                lag.add_metric([str(number)], value)
            version = GaugeMetricFamily(
                "headwater_scorer_model_version", "Version of the model in charge.", labels=["asset_class"]
            )
            for name, value in counts.versions.items():
                version.add_metric([name], value)
            delay = HistogramMetricFamily(
                "headwater_scorer_delay_seconds",
                "From the oldest reading of a chunk, by its timestamp in Kafka, to the acknowledgement of its outputs.",
                buckets=_cumulated(counts.delays),
                sum_value=counts.delay_s,
            )
            void = GaugeMetricFamily(
                "headwater_scorer_void_assets",
                "Machines that run where their healthy limits do not hold: no budget of false alarms is promised.",
                value=counts.void,
            )
            return [*found, lag, version, void, delay]

    REGISTRY.register(Collected())


def _cumulated(delays: list[int]) -> list[tuple[str, float]]:
    total = 0
    found: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, DELAYS_S), "+Inf"), delays, strict=True):
        total += count
        found.append((bound, total))
    return found
