"""The pictures of a card, as PNG."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

from cloud_trainer.cards.evidence import Evidence, Watched, thirds
from cloud_trainer.cards.life import Predictions
from cloud_trainer.judging import counts
from cloud_trainer.judging.counts import FN, FP, TP
from cloud_trainer.judging.material import FAULT, NORMAL
from headwater.transport.pictures import BLUE, GREEN, GREY, ORANGE, RED, png

_MOST_ASSETS = 4
_MOST_POINTS = 3000
_MOST_PREDICTIONS = 600
_OFF_BINS = 20
_MOST_CHANNELS = 8
_LEAST_LEVEL = 1e-3
_LARGE = 0.25  # PSI


class Picture(NamedTuple):
    """A picture with its file name and what it shows."""

    name: str
    title: str
    text: str
    data: bytes


def pictures(evidence: Evidence, life: Predictions | None) -> list[Picture]:
    """Every picture that there is data for."""
    drawn = []
    if evidence.material.is_labelled:
        drawn.append(_precision_recall(evidence))
    drawn += [_timeline(evidence), _regimes(evidence), _drift(evidence)]
    if life is not None:
        drawn.append(remaining(life))
    return drawn


def _precision_recall(evidence: Evidence) -> Picture:
    recall, precision = counts.curve(evidence.sums)
    sums = evidence.sums
    share = (sums[TP] + sums[FN]) / max(1.0, sums[counts.TP : counts.TN + 1].sum())

    def draw(_figure: Any, axes: list[Any]) -> None:
        axes[0].step(recall, precision, where="post", color=BLUE, linewidth=1.2, label="every threshold, by reading")
        if sums[TP] + sums[FP] > 0:
            at = (sums[TP] / (sums[TP] + sums[FN]), sums[TP] / (sums[TP] + sums[FP]))
            axes[0].plot(*at, "o", color=RED, label="as shipped: threshold and alarm rule")
        axes[0].axhline(share, color=GREY, linestyle="--", linewidth=0.8, label="always in alarm")
        axes[0].set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="share of faulty readings found", ylabel="precision")
        axes[0].legend(frameon=False, loc="lower left")

    text = "Precision over recall of single readings. Recordings in which faults are long flatter every detector."
    return Picture("precision-recall", "Precision and recall", text, png(draw, width=6.0, height=3.2))


def _timeline(evidence: Evidence) -> Picture:
    chosen = sorted(evidence.assets, key=_interest, reverse=True)[:_MOST_ASSETS]

    def draw(_figure: Any, axes: list[Any]) -> None:
        for axis, one in zip(axes, chosen, strict=True):
            minutes = (one.series.t - one.series.t[0]) / 60_000
            every = max(1, len(minutes) // _MOST_POINTS)
            level = np.maximum(one.verdicts.level, _LEAST_LEVEL)
            axis.plot(minutes[::every], level[::every], color=BLUE, linewidth=0.8)
            axis.axhline(1.0, color=GREY, linestyle="--", linewidth=0.8)
            for mask, colour, strength in ((one.truth == FAULT, ORANGE, 0.2), (one.verdicts.alarm, RED, 0.25)):
                for start, end in counts.stretches(mask):
                    axis.axvspan(minutes[start], minutes[end - 1], color=colour, alpha=strength, lw=0)
            axis.set_yscale("log")
            _plain(axis.yaxis)
            axis.set_ylabel(one.key, rotation=0, ha="right", va="center")
        axes[-1].set_xlabel("minutes since the first reading")

    text = (
        "Score over threshold (dashed). Orange: a fault as it is labelled. Red: alarm episodes. "
        f"{len(chosen)} of {len(evidence.assets)} assets, those with faults and alarms first."
    )
    return Picture("timeline", "Alarms on the recording", text, png(draw, rows=len(chosen), height=1.3))


def _interest(one: Watched) -> tuple[bool, int, int]:
    return bool((one.truth == FAULT).any()), int(one.verdicts.opens.sum()), len(one.series)


def _regimes(evidence: Evidence) -> Picture:
    model, given = evidence.model, evidence.material.learn.channels
    channels = model.manifest.features.channels[:_MOST_CHANNELS]
    labelled = evidence.material.is_labelled

    def draw(_figure: Any, axes: list[Any]) -> None:
        boxes, names = [], []
        for channel in channels:
            for number, third in enumerate(("low", "middle", "high")):
                levels = [
                    one.verdicts.level[
                        one.verdicts.known
                        & (thirds(one, model, given, channel) == number)
                        & ((one.truth == NORMAL) | (not labelled))
                    ]
                    for one in evidence.assets
                ]
                boxes.append(np.maximum(np.concatenate(levels), _LEAST_LEVEL))
                names.append(third if number else f"{channel}   {third}")
        axes[0].boxplot(
            boxes, orientation="horizontal", showfliers=False, whis=(1, 99), widths=0.6, medianprops={"color": BLUE}
        )
        axes[0].set_yticks(range(1, len(names) + 1), names)
        axes[0].invert_yaxis()
        axes[0].axvline(1.0, color=GREY, linestyle="--", linewidth=0.8)
        axes[0].set_xscale("log")
        _plain(axes[0].xaxis)
        axes[0].set_xlabel("score over threshold")

    text = (
        "Residuals by regime: scores of normal readings, by where each channel stood against what the model was "
        "trained on. Boxes hold the middle half, whiskers 98 of 100. A regime whose box is farther right alarms sooner."
    )
    height = 0.4 + 0.18 * 3 * len(channels)
    return Picture("residuals-by-regime", "Residuals by regime", text, png(draw, height=height))


def _plain(axis: Any) -> None:
    """Ticks of a logarithmic axis at 1 and 3 of each decade, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_locator(NullLocator())


def _drift(evidence: Evidence) -> Picture:
    drift = evidence.drift

    def draw(figure: Any, axes: list[Any]) -> None:
        shown = axes[0].imshow(
            drift.psi, aspect="auto", cmap="YlOrRd", vmin=0, vmax=2 * _LARGE, interpolation="nearest"
        )
        axes[0].set_yticks(range(len(drift.channels)), drift.channels)
        axes[0].set_xticks([0, drift.psi.shape[1] - 1], ["begin", "end"])
        figure.colorbar(shown, ax=axes[0], label="PSI", extend="max")

    text = (
        f"Population stability index of each channel against {drift.reference}, over the length of the recordings; "
        f"{_LARGE} and more is a large shift. A shift is no fault: it says that the model knows such readings less."
    )
    return Picture("drift", "Drift", text, png(draw, height=0.8 + 0.28 * len(drift.channels)))


def remaining(life: Predictions) -> Picture:
    """Remaining life as predicted, over what it was where that is known, else in order of the prediction."""
    every = max(1, -(-len(life.predicted) // _MOST_PREDICTIONS))

    def draw(_figure: Any, axes: list[Any]) -> None:
        known = life.left is not None
        x = life.left if life.left is not None else np.argsort(np.argsort(life.predicted)).astype(np.float64)
        off = np.abs(np.stack([life.predicted - life.low, life.high - life.predicted]))[:, ::every]
        axes[0].errorbar(
            x[::every],
            life.predicted[::every],
            yerr=off,
            fmt="o",
            markersize=2.5,
            color=BLUE,
            ecolor=GREY,
            linewidth=0.6,
        )
        if known:
            most = float(max(x.max(initial=1), life.high.max(initial=1)))
            axes[0].plot([0, most], [0, most], color=GREEN, linewidth=0.8)
        axes[0].set_xlabel("true remaining life" if known else "predictions in their order")
        axes[0].set_ylabel("predicted remaining life")

    return Picture("remaining-life", "Remaining life", life.text, png(draw, width=6.0, height=3.4))


def off_by_truth(life: Predictions) -> Picture:
    """How far off predictions are, by what was left; `left` must be known."""
    left = np.zeros(0) if life.left is None else life.left
    off = life.predicted - left
    edges = np.unique(np.quantile(left, np.linspace(0, 1, _OFF_BINS + 1)))
    number = np.clip(np.searchsorted(edges, left, side="right") - 1, 0, max(0, len(edges) - 2))
    bins = np.unique(number)
    low, middle, high = (np.array([np.quantile(off[number == n], q) for n in bins]) for q in (0.1, 0.5, 0.9))
    x = np.array([left[number == n].mean() for n in bins])

    def draw(_figure: Any, axes: list[Any]) -> None:
        axes[0].fill_between(x, low, high, color=BLUE, alpha=0.2, lw=0)
        axes[0].plot(x, middle, color=BLUE, linewidth=1.2)
        axes[0].axhline(0, color=GREY, linestyle="--", linewidth=0.8)
        axes[0].set_xlabel("true remaining life")
        axes[0].set_ylabel("predicted less true")

    text = (
        "Where it is off: the middle prediction, and the middle four fifths, by what was left. Above zero is too late."
    )
    return Picture("remaining-life-off", "How far off", text, png(draw, width=6.0, height=2.6))
