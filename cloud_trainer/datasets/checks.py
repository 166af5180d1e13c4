"""Is this fit to learn from? Every check that is made before training, with what it found in words.

| check | what it finds | |
|---|---|---|
| `missing` | a channel that too few of an asset's readings carry | warning |
| `flat` | a channel that stood still for a fifth of an asset's readings, 100 at least | warning |
| `unit` | a channel of a site ten times as high and restless as at other sites, or as low | error; warning from 4 |
| `unit-jump` | the same from one moment on within the readings of an asset | warning |
| `spike` | values as for "no value" (-9999), single ones far from all others | warning; error where they are often |
| `time-repeated`, `time-backward` | readings with the time of the one before, or an earlier one | error above 5 % |
| `clock` | a channel that tells the row number: it only grows, or only falls | error; warning for one with steps |
| `label` | a channel that is called as a label is, or equals one | error |

An error refuses the training. One that is meant so, such as hours since overhaul, is accepted by its name
(`clock:hours`), and told as a warning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal

import msgspec
import numpy as np
import structlog

from cloud_trainer.datasets.collecting import Collected, training_set
from cloud_trainer.datasets.columns import Table
from cloud_trainer.datasets.health import Mask, in_episode
from cloud_trainer.datasets.leaks import leaks
from cloud_trainer.datasets.spikes import spikes
from cloud_trainer.datasets.units import units
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import TrainingSet
from headwater.contract.errors import GateFailed

_log = structlog.get_logger(__name__)
_FLAT_SHARE, _FLAT_LEAST = 0.2, 100
_BAD_TIMES, _BAD_LEAST = 0.05, 20
_NAMED = 3  # assets that a sentence names
_LOGGED = 10  # of each check, in the log


class Finding(msgspec.Struct, frozen=True):
    """What one check found of one channel, asset or site; its name is `check:of`."""

    level: Literal["error", "warning"]
    check: str
    of: str
    detail: str

    @property
    def name(self) -> str:
        """By which it is accepted."""
        return f"{self.check}:{self.of}"


class Report(msgspec.Struct, frozen=True):
    """What was checked, and what was found, errors first."""

    assets: int
    readings: int
    channels: tuple[str, ...]
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        """What refuses the training."""
        return [each for each in self.findings if each.level == "error"]

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.readings:,} readings of {self.assets} assets, {len(self.channels)} channels"
        for each in self.findings:
            yield f"  {each.level:<7}  {each.name}: {each.detail}"
        if not self.findings:
            yield "  nothing was found that speaks against learning from them"

    def log(self) -> None:
        """The warnings, in one line however many they are: what they are of by check, and the first in full."""
        warnings = [each for each in self.findings if each.level == "warning"]
        of: dict[str, list[str]] = {}
        for each in warnings:
            of.setdefault(each.check, []).append(each.of)
        if warnings:
            found = "; ".join(f"{check}: {_some(names, _LOGGED)}" for check, names in of.items())
            more = " (headwater train dataset check shows all of them)" if len(warnings) > 1 else ""
            _log.warning("data check", found=found, detail=f"{warnings[0].name}: {warnings[0].detail}{more}")

    def gate(self) -> None:
        """GateFailed when there is an error."""
        if self.errors:
            first, more = self.errors[0], len(self.errors) - 1
            raise GateFailed(
                f"these data are not fit to learn from: {first.name}: {first.detail}"
                + (f"; and {more} more errors" if more else ""),
                hint=f'correct the data, or accept it where it is meant so: trainer.recipe.accept = ["{first.name}"]; '
                "headwater train dataset check shows everything",
            )


def examine(
    tables: Mapping[str, Table],
    channels: tuple[str, ...],
    labels: Mapping[str, Mask],
    recipe: Recipe,
    ends: Mapping[str, Collection[int]] | None = None,
) -> Report:
    """All checks on the readings of one class, by `site/asset`; `labels`: which of an asset's rows are abnormal.

    `ends`: with which of its rows an asset failed, where that is known.
    Findings whose names are in `recipe.accept` are warnings.
    """
    found: list[Finding] = []
    found += _missing(tables, channels, recipe.present)
    found += _flat(tables, channels)
    found += [Finding(*each) for each in units(tables, channels)]
    found += [Finding(*each) for each in spikes(tables, channels, labels, recipe.accept, ends)]
    found += _times(tables)
    found += [Finding(*each) for each in leaks(tables, channels, labels)]
    judged = [msgspec.structs.replace(each, level="warning") if each.name in recipe.accept else each for each in found]
    readings = sum(len(one.t) for one in tables.values())
    return Report(len(tables), readings, channels, sorted(judged, key=lambda each: (each.level, each.check, each.of)))


def check(found: Collected, recipe: Recipe) -> Report:
    """All checks on what was read; labels are those of recordings, or else the episodes of alarms."""
    tables = found.tables()
    labels = dict(found.labels)
    for key, alarms in found.alarms.items():
        if key in tables:
            labels.setdefault(key, in_episode(tables[key].t, alarms.spans()))
    return examine(tables, found.channels, labels, recipe)


def fit_to_learn(found: Collected, recipe: Recipe) -> TrainingSet:
    """What may be learned from, once it passed all checks: warnings are logged, GateFailed for an error."""
    report = check(found, recipe)
    report.log()
    report.gate()
    return training_set(found, recipe)


def _some(keys: list[str], most: int = _NAMED) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def _missing(tables: Mapping[str, Table], channels: tuple[str, ...], present: float) -> Iterator[Finding]:
    for number, channel in enumerate(channels):
        shares = {key: float(np.isfinite(one.values[:, number]).mean()) for key, one in tables.items() if len(one.t)}
        poor = [key for key, share in shares.items() if share < present]
        if poor:
            least = min(shares.values())
            told = f"in {least:.0%} of the readings of the poorest, {present:.0%} are needed"
            yield Finding(
                "warning", "missing", channel, f"too rare at {len(poor)} of {len(shares)} assets: {told}: {_some(poor)}"
            )


def _flat(tables: Mapping[str, Table], channels: tuple[str, ...]) -> Iterator[Finding]:
    for number, channel in enumerate(channels):
        still = {}
        for key, one in tables.items():
            values = one.values[:, number]
            values = values[np.isfinite(values)]
            longest = _longest_run(values)
            if longest >= max(_FLAT_LEAST, _FLAT_SHARE * len(values)):
                still[key] = longest
        if still:
            told = f"for up to {max(still.values()):,} readings"
            yield Finding(
                "warning",
                "flat",
                channel,
                f"stood still at {len(still)} of {len(tables)} assets {told}: {_some(list(still))}",
            )


def _longest_run(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> int:
    """Readings in the longest row of equal values."""
    if not len(values):
        return 0
    changes = np.flatnonzero(np.diff(values) != 0)
    return int(np.diff(np.concatenate([[-1], changes, [len(values) - 1]])).max())


def _times(tables: Mapping[str, Table]) -> Iterator[Finding]:
    for key, one in tables.items():
        steps = np.diff(one.t)
        for check, words, count in (
            ("time-repeated", "have the time of the one before", int((steps == 0).sum())),
            ("time-backward", "are earlier than the one before", int((steps < 0).sum())),
        ):
            if count:
                share = count / len(one.t)
                level: Literal["error", "warning"] = (
                    "error" if share > _BAD_TIMES and count >= _BAD_LEAST else "warning"
                )
                yield Finding(level, check, key, f"{count:,} of {len(one.t):,} readings ({share:.1%}) {words}")
