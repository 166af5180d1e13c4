"""Figures of a run, and how they are shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.table import Table

from bench.figures import NONE, median_figure, table
from bench.retrain.loop import Round
from bench.retrain.sites import Thousand
from headwater.contract.figures import Figure, figure

_STEPS = ("taken up", "trained, proven, signed", "rolled out, verified at the edge", "first window scored")
_POLL = "edge.updater.poll_interval_s = 1; an edge looks every 900 s unless told otherwise, which comes on top"


def loop_table(rounds: Sequence[Round]) -> Table:
    """How the time is divided, in seconds."""
    columns = ("version", "readings", *_STEPS, "message to first score")
    rows = [
        (str(one.version), f"{one.records:,}", *(f"{part:.2f}" for part in one.parts), f"{one.scored:.2f}")
        for one in rounds
    ]
    return table("From a message on retrain-requests to the first score at the edge, in seconds", columns, rows)


def sites_table(found: Thousand) -> Table:
    """Each way beside the others; `same` says whether every run gave the very bytes of the pool's first."""
    digests = {way.digest for way in found.ways if way.digest}
    same = "yes" if len(digests) == 1 else "NO"
    rows = [
        (
            way.name,
            f"{statistics.median(way.seconds):.1f}",
            f"{min(way.seconds):.1f} … {max(way.seconds):.1f}",
            f"{way.first:.1f}" if way.digest else NONE,
            f"{found.readings / statistics.median(way.seconds):,.0f}",
            f"{way.assets:,}",
            same if way.digest else NONE,
        )
        for way in found.ways
    ]
    title = f"Scaling and thresholds of {found.sites:,} sites, {found.readings:,} readings of {found.of}"
    return table(
        title, ("runner", "s", "lowest … highest", "to the first result", "readings/s", "assets", "same bytes"), rows
    )


def figures(rounds: Sequence[Round], found: Thousand | None) -> list[Figure]:
    """Without a value what was not asked for."""
    shown = [
        median_figure(
            "retrain.message_to_first_score_s", [one.scored for one in rounds], "s", 120, better="lower", note=_POLL
        )
    ]
    if found is None:
        return [*shown, figure("retrain.thousand_sites_s", None, "s", 60, note="not measured")]
    by_name = {way.name: way for way in found.ways}
    digests = {way.digest for way in found.ways if way.digest}
    wrong = "" if len(digests) == 1 else "the runners' results differ"
    few = f"{found.sites:,} sites" if found.sites != 1000 else ""
    for name, suffix, goal in (("pool", "", 60), ("one process", "_one_process", None), ("Ray", "_ray", 60)):
        way = by_name.get(name)
        refused = wrong or few or ("" if way else found.ray)
        seconds = way.seconds if way else ()
        held_to = goal if way else None  # Ray is promised where it is installed
        shown.append(
            median_figure(f"retrain.thousand_sites{suffix}_s", seconds, "s", held_to, better="lower", refused=refused)
        )
    return [*shown, figure("retrain.runners_differ", len(digests) - 1, "count", 0)]
