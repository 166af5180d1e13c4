"""Figures of the updater, taken from desired.json, since a look may happen in a process that is gone."""

from __future__ import annotations

from prometheus_client import Gauge

from headwater.contract.desired import Desired

_VERSION = Gauge("headwater_updater_version", "Version that should run.", ["asset_class"])
_GENERATION = Gauge("headwater_updater_generation", "Highest rollout generation seen.", ["asset_class"])
_FETCHED = Gauge("headwater_updater_fetched_bytes", "Bytes of models and manifests fetched since the beginning.")
_REFUSED = Gauge("headwater_updater_refused_versions", "Refusals that are remembered.")
_FRESH = Gauge("headwater_updater_fresh", "1 while signed metadata is up to date, 0 otherwise.")
_LOOKED = Gauge("headwater_updater_last_look_seconds", "Unix time at which the last look ended.")


def show(desired: Desired) -> None:
    """Set the figures to what desired.json says."""
    for asset_class, wanted in desired.classes.items():
        _VERSION.labels(asset_class).set(wanted.version)
    for asset_class, generation in desired.generations.items():
        _GENERATION.labels(asset_class).set(generation)
    _FETCHED.set(desired.updater.fetched_bytes)
    _REFUSED.set(len(desired.refused))
    _FRESH.set(desired.updater.freshness == "fresh")
    _LOOKED.set(desired.updater.checked_at / 1000)
