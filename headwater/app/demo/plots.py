"""Pictures of what the demo saw, each an SVG text to stand inline in the report."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from itertools import pairwise, zip_longest
from statistics import median
from typing import Any

import matplotlib as mpl

from headwater.app.demo.evidence import Asset, Evidence, ScoreTrace, left_out

mpl.use("Agg")  # before pyplot: no display

import matplotlib.pyplot as plt  # after the backend was chosen
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

BLUE, ORANGE, RED, GREEN, GREY = "#2f6f9f", "#d9822b", "#c23b3b", "#3c8d53", "#8a8f98"
VERSION_COLOURS = (BLUE, GREEN, ORANGE, "#7a5aa6", "#3aa7a3")
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
MOST_POINTS = 1200
MOST_DRAWN = 4
NOTHING = float("nan")
GAP = 5  # a pause that is as many times as long as most is no line
HIT, MISS, FALSE = "an alarm in a fault", "a fault and no alarm in it", "an alarm outside of a fault"
VERDICTS = (HIT, MISS, FALSE)


def all_plots(evidence: Evidence) -> list[tuple[str, str, str]]:
    """Title, a sentence and the SVG of every picture that there is data for."""
    drawn: list[tuple[str, str, str]] = []
    told = verdicts(evidence)
    counts = Counter(verdict for each in told.values() for verdict in each)
    shown = ", ".join(f"{counts[verdict]} with {verdict}" for verdict in VERDICTS if counts[verdict])
    others = f"Chosen from {len(told)}: {shown}."
    drawn += [_readings(evidence, key, told[key], others) for key in chosen(told)]
    drawn.append(_scores(evidence))
    if any(evidence.lag.values()):
        drawn.append(_lag(evidence))
    if evidence.learned:
        drawn.append(_learned(evidence))
    return drawn


def verdicts(evidence: Evidence) -> dict[Asset, list[str]]:
    """What became of each asset whose readings are known and that had a fault or an alarm."""
    found: dict[Asset, list[str]] = {}
    for key in evidence.readings:
        faults, alarms = evidence.faults.get(key, []), _spans(evidence, key)
        hit = any(a < end and start < b for a, b in faults for start, end in alarms)
        false = any(not any(a <= start < b for a, b in faults) for start, _ in alarms)
        found[key] = [HIT] * hit + [MISS] * (bool(faults) and not hit) + [FALSE] * false
    return {key: each for key, each in found.items() if each}


def chosen(told: dict[Asset, list[str]]) -> list[Asset]:
    """Which assets are drawn: each verdict in turn, the plain cases of it first."""
    ranked = {v: sorted((k for k in told if v in told[k]), key=lambda k: len(told[k])) for v in VERDICTS}
    turns = [key for turn in zip_longest(*ranked.values()) for key in turn if key is not None]
    return list(dict.fromkeys(turns))[:MOST_DRAWN]


def _svg(draw: Callable[[Any, Any], None], rows: int = 1, height: float = 2.4) -> str:
    with plt.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "hw"}):
        figure, axes = plt.subplots(rows, 1, figsize=(9.5, height * rows + 0.4), sharex=rows > 1, squeeze=False)
        draw(figure, [row[0] for row in axes])
        figure.tight_layout()
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _start(evidence: Evidence, key: Asset) -> int:
    """When the readings of an asset begin: recordings are of different days, so each is measured from its own."""
    trace = evidence.readings.get(key)
    return trace.t[0] if trace and trace.t else min(evidence.scores[key].t, default=0)


def _lines(t: list[int], values: list[float | None]) -> tuple[list[int], list[float]]:
    """A channel as points, with a break in every gap."""
    usual = median(after - before for before, after in pairwise(t)) if len(t) > 1 else 0
    times, drawn = t[:1], [_number(value) for value in values[:1]]
    for before, now, value in zip(t, t[1:], values[1:], strict=False):
        if now - before > GAP * usual:
            times.append(before)
            drawn.append(NOTHING)
        times.append(now)
        drawn.append(_number(value))
    return times, drawn


def _number(value: float | None) -> float:
    return NOTHING if value is None else value


def _readings(evidence: Evidence, key: Asset, told: list[str], others: str) -> tuple[str, str, str]:
    trace, (site, asset) = evidence.readings[key], key
    alarms, begun = _spans(evidence, key), trace.t[0]
    channels = list(trace.values)[:8]

    def minutes(t: float) -> float:
        return (t - begun) / 60_000

    def draw(_figure: Any, axes: Any) -> None:
        step = max(1, len(trace.t) // MOST_POINTS)
        for axis, channel in zip(axes, channels, strict=True):
            times, values = _lines(trace.t[::step], trace.values[channel][::step])
            axis.plot([minutes(t) for t in times], values, color=BLUE, linewidth=0.7)
            axis.set_ylabel(channel.replace("_", "\n"), rotation=0, ha="right", va="center")
            axis.yaxis.set_major_locator(MaxNLocator(3))
            axis.ticklabel_format(axis="y", useOffset=False)
            for start, end in evidence.faults.get(key, []):
                axis.axvspan(minutes(start), minutes(end), color=ORANGE, alpha=0.18, lw=0)
            for start, end in alarms:
                axis.axvspan(minutes(start), minutes(end), color=RED, alpha=0.25, lw=0)
        axes[-1].set_xlabel("minutes of sensor time since its first reading")

    text = f"Orange: the fault as it really was. Red: alarm episodes. {others}"
    return f"{site}/{asset}: {' and '.join(told)}", text, _svg(draw, len(channels), 0.85)


def _spans(evidence: Evidence, key: Asset) -> list[tuple[int, int]]:
    """Alarm episodes of an asset as spans of sensor time; one that is still open ends with the readings."""
    opened: dict[str, int] = {}
    spans: list[tuple[int, int]] = []
    for episode in evidence.episodes:
        alarm = episode.alarm
        if (alarm.site, alarm.asset) != key:
            continue
        if alarm.state == "opened":
            opened[alarm.episode] = alarm.t
        elif alarm.episode in opened:
            spans.append((opened.pop(alarm.episode), alarm.t))
    end = evidence.readings[key].t[-1]
    return spans + [(start, end) for start in opened.values()]


def _changes(trace: ScoreTrace) -> list[tuple[int, int]]:
    """Each version in charge, one after the other, with the sensor time of its first score."""
    firsts = [0, *(i for i in range(1, len(trace.t)) if trace.version[i] != trace.version[i - 1])] if trace.t else []
    return [(trace.version[i], trace.t[i]) for i in firsts]


def swap_minutes(evidence: Evidence, site: str) -> list[tuple[int, float]]:
    """The versions of a site in their order, and after how many minutes its machines had them: the median of them."""
    seen: dict[tuple[int, int], list[float]] = {}
    for key, trace in evidence.scores.items():
        if key[0] == site:
            for number, (version, t) in enumerate(_changes(trace)):
                seen.setdefault((number, version), []).append((t - _start(evidence, key)) / 60_000)
    most = {number: max(len(seen[s]) for s in seen if s[0] == number) for number, _ in seen}
    # Machines that were silent at a swap skip a version: what most of them had is told.
    return [(version, median(m)) for (n, version), m in sorted(seen.items()) if len(m) == most[n] > most[0] / 10]


def _scores(evidence: Evidence) -> tuple[str, str, str]:
    sites = sorted({site for site, _ in evidence.scores})

    def draw(_figure: Any, axes: Any) -> None:
        for axis, site in zip(axes, sites, strict=True):
            for key, trace in evidence.scores.items():
                if key[0] != site:
                    continue
                x = [(t - _start(evidence, key)) / 60_000 for t in trace.t]
                y = [_number(s) / h for s, h in zip(trace.score, trace.threshold, strict=True)]
                colours = [VERSION_COLOURS[(v - 1) % len(VERSION_COLOURS)] for v in trace.version]
                axis.scatter(x, y, s=2, c=colours, linewidths=0)
            axis.axhline(1.0, color=RED, linewidth=0.8, linestyle="--")
            for version, minute in swap_minutes(evidence, site):
                axis.axvline(minute, color=GREY, linewidth=0.8)
                axis.annotate(f"v{version}", (minute, 1.0), xycoords=("data", "axes fraction"))
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(numticks=4))
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.set_xlim(right=_far(evidence))
            axis.set_ylabel(site)
        axes[-1].set_xlabel("minutes of sensor time since the first reading of each machine")

    text = "Each dot is a window's score as a share of its threshold (dashed), coloured by the version that gave it; "
    return "Scores around each swap", text + "vertical lines are swaps.", _svg(draw, max(1, len(sites)), 1.9)


def _far(evidence: Evidence) -> float:
    """Where the axis of scores ends, in minutes: behind 99 of 100 scores, as some recordings have long gaps."""
    ages = sorted((t - _start(evidence, key)) / 60_000 for key, trace in evidence.scores.items() for t in trace.t)
    return 1.05 * ages[len(ages) * 99 // 100] if ages else 1.0


def _lag(evidence: Evidence) -> tuple[str, str, str]:
    def draw(_figure: Any, axes: Any) -> None:
        for colour, (site, points) in zip(VERSION_COLOURS, sorted(evidence.lag.items()), strict=False):
            axes[0].plot([s for s, _ in points], [n for _, n in points], label=site, color=colour, linewidth=1)
        for number, (second, what) in enumerate(evidence.kills):
            axes[0].axvline(second, color=RED, linewidth=0.8, linestyle="--")
            place = (second, 0.97 - 0.09 * number)
            axes[0].annotate(
                f" {what}", place, xycoords=("data", "axes fraction"), color=RED, va="top", fontsize=7, bbox=PAPER
            )
        axes[0].set_xlim(left=0)
        axes[0].set_xlabel("seconds since machines began to publish")
        axes[0].set_ylabel("records not yet in the cloud")
        axes[0].legend(frameon=False)

    return (
        "Replication lag",
        "Readings that the edge has and the cloud has not. Dashed: what was killed when.",
        _svg(draw),
    )


def _learned(evidence: Evidence) -> tuple[str, str, str]:
    widest = max(_size(parts) for one in evidence.learned for parts in one.offsets.values())

    def draw(_figure: Any, axes: Any) -> None:
        labels = []
        for row, one in enumerate(evidence.learned):
            left = 0
            for topic, parts in sorted(one.offsets.items()):
                size = _size(parts)
                colour = VERSION_COLOURS[sorted(one.offsets).index(topic) % len(VERSION_COLOURS)]
                axes[0].barh(row, size, left=left, color=colour, edgecolor="white")
                if size < widest / 12:
                    left += size
                    continue
                axes[0].annotate(topic, (left + size / 2, row), ha="center", va="center", color="white", fontsize=7)
                left += size
            labels.append(f"v{one.version}: {one.records:,} used\n{left_out(one.excluded)}")
        axes[0].set_yticks(range(len(labels)), labels)
        axes[0].set_xlabel("records in the offset range")

    return "What each model learned from", "Exact offset ranges of the cloud topics.", _svg(draw, 1, 1.6)


def _size(parts: dict[str, tuple[int, int]]) -> int:
    return sum(end - start for start, end in parts.values())
