"""Prometheus metrics of the scorer."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

READINGS = Counter("headwater_scorer_readings_total", "Readings judged, replayed ones included.")
SCORES = Counter("headwater_scorer_scores_total", "Scores written and acknowledged.")
ALARMS = Counter("headwater_scorer_alarms_total", "Alarm records written and acknowledged.")
DEAD_LETTERS = Counter("headwater_scorer_dead_letters_total", "Records of `readings` that could not be used.")
CHECKPOINTS = Counter("headwater_scorer_checkpoints_total", "Checkpoints written and acknowledged.")
LAG = Gauge("headwater_scorer_lag_readings", "Readings in the log that are not judged yet.", ["partition"])
VERSION = Gauge("headwater_scorer_model_version", "Version of the model in charge.", ["asset_class"])
DELAY = Histogram(
    "headwater_scorer_delay_seconds",
    "From a reading's timestamp in Kafka to the acknowledgement of what was said about it, oldest of each chunk.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
)
