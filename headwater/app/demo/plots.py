"""Pictures of what the demo saw, each an SVG text to stand inline in the report."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl

from headwater.app.demo.evidence import Asset, Evidence

mpl.use("Agg")  # before pyplot: no display

import matplotlib.pyplot as plt  # after the backend was chosen

BLUE, ORANGE, RED, GREEN, GREY = "#2f6f9f", "#d9822b", "#c23b3b", "#3c8d53", "#8a8f98"
VERSION_COLOURS = (BLUE, GREEN, ORANGE, "#7a5aa6", "#3aa7a3")
MOST_POINTS = 1200


def all_plots(evidence: Evidence) -> list[tuple[str, str, str]]:
    """Title, a sentence and the SVG of every picture that there is data for."""
    drawn: list[tuple[str, str, str]] = []
    watched = [asset for asset in evidence.faults if asset in evidence.readings][:4]
    for site, asset in watched:
        drawn.append(_readings(evidence, (site, asset)))
    drawn.append(_scores(evidence))
    if any(evidence.lag.values()):
        drawn.append(_lag(evidence))
    if evidence.learned:
        drawn.append(_learned(evidence))
    return drawn


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


def _minutes(evidence: Evidence, t_ms: int) -> float:
    start = min((trace.t[0] for trace in evidence.readings.values() if trace.t), default=0)
    return (t_ms - start) / 60_000


def _readings(evidence: Evidence, key: Asset) -> tuple[str, str, str]:
    trace, (site, asset) = evidence.readings[key], key
    alarms = _spans(evidence, key)
    channels = list(trace.values)[:8]

    def draw(_figure: Any, axes: Any) -> None:
        step = max(1, len(trace.t) // MOST_POINTS)
        for axis, channel in zip(axes, channels, strict=True):
            x = [_minutes(evidence, t) for t in trace.t[::step]]
            y = [float("nan") if v is None else v for v in trace.values[channel][::step]]
            axis.plot(x, y, color=BLUE, linewidth=0.7)
            axis.set_ylabel(channel.replace("_", "\n"), rotation=0, ha="right", va="center")
            for start, end in evidence.faults.get(key, []):
                axis.axvspan(_minutes(evidence, start), _minutes(evidence, end), color=ORANGE, alpha=0.18, lw=0)
            for start, end in alarms:
                axis.axvspan(_minutes(evidence, start), _minutes(evidence, end), color=RED, alpha=0.25, lw=0)
        axes[-1].set_xlabel("minutes of sensor time")

    title = f"{site}/{asset}: readings, fault and alarms"
    return title, "Orange: the fault as it really was. Red: alarm episodes.", _svg(draw, len(channels), 0.85)


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


def _scores(evidence: Evidence) -> tuple[str, str, str]:
    sites = sorted({site for site, _ in evidence.scores})

    def draw(_figure: Any, axes: Any) -> None:
        for axis, site in zip(axes, sites, strict=True):
            for (owner, _asset), trace in evidence.scores.items():
                if owner != site:
                    continue
                x = [_minutes(evidence, t) for t in trace.t]
                y = [float("nan") if s is None else s / h for s, h in zip(trace.score, trace.threshold, strict=True)]
                colours = [VERSION_COLOURS[(v - 1) % len(VERSION_COLOURS)] for v in trace.version]
                axis.scatter(x, y, s=2, c=colours, linewidths=0)
            axis.axhline(1.0, color=RED, linewidth=0.8, linestyle="--")
            for owner, version, t in evidence.swaps:
                if owner == site:
                    axis.axvline(_minutes(evidence, t), color=GREY, linewidth=0.8)
                    axis.annotate(f"v{version}", (_minutes(evidence, t), 1.0), xycoords=("data", "axes fraction"))
            axis.set_yscale("log")
            axis.set_ylabel(site)
        axes[-1].set_xlabel("minutes of sensor time")

    text = "Each dot is a window's score as a share of its threshold (dashed), coloured by the version that gave it; "
    return "Scores around each swap", text + "vertical lines are swaps.", _svg(draw, max(1, len(sites)), 1.9)


def _lag(evidence: Evidence) -> tuple[str, str, str]:
    def draw(_figure: Any, axes: Any) -> None:
        for colour, (site, points) in zip(VERSION_COLOURS, sorted(evidence.lag.items()), strict=False):
            axes[0].plot([s for s, _ in points], [n for _, n in points], label=site, color=colour, linewidth=1)
        for second in evidence.kills:
            axes[0].axvline(second, color=RED, linewidth=0.8, linestyle="--")
        axes[0].set_xlabel("seconds since machines began to publish")
        axes[0].set_ylabel("records not yet in the cloud")
        axes[0].legend(frameon=False)

    return "Replication lag", "Readings that the edge has and the cloud has not. Dashed: the kills.", _svg(draw)


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
            labels.append(f"v{one.version}: {one.records:,} used\n{sum(one.excluded.values()):,} left out")
        axes[0].set_yticks(range(len(labels)), labels)
        axes[0].set_xlabel("records in the offset range")

    return "What each model learned from", "Exact offset ranges of the cloud topics.", _svg(draw, 1, 1.6)


def _size(parts: dict[str, tuple[int, int]]) -> int:
    return sum(end - start for start, end in parts.values())
