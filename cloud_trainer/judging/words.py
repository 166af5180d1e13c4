"""A decision for people."""

from __future__ import annotations

from cloud_trainer.judging.decision import Decision, Figure, Part
from headwater.transport.code_version import said

_MOST_PARTS = 12
_SAID = {"promote": "PROMOTE the challenger", "keep": "KEEP the champion", "undecided": "UNDECIDED: keep the champion"}


def lines_of(decision: Decision) -> list[str]:
    """The verdict, the figures, and the parts that differ most."""
    one, other = decision.champion, decision.challenger
    champion = f"champion version {one.version} ({one.algorithm}, {one.sha256[:12]})"
    challenger = f"challenger ({other.algorithm}, {other.sha256[:12]})"
    cut = (
        f"{decision.blocks} blocks of {decision.block_readings}"
        if decision.block_readings
        else f"{decision.blocks} lives"
    )
    blocks = f"{cut}, {decision.confidence:.0%} by {decision.units}"
    lines = [
        f"{decision.asset_class}: {champion} against {challenger}",
        f"  on {decision.readings:,} readings in {blocks}, dataset sha256 {decision.dataset.sha256}",
        "",
        f"  {'':<20}{'champion':>28}{'challenger':>28}{'difference':>30}",
        *(f"  {name:<20}{_row(figure)}" for name, figure in decision.figures.items()),
        "",
    ]
    if len(decision.assets) > 1:
        lines += [f"  {decision.main} by asset", *_parts(decision.assets)]
    if decision.slices:
        lines += [f"  {decision.main} by third of a channel", *_parts(decision.slices), ""]
    lines += [f"  {note}" for note in decision.notes]
    lines += [f"{_SAID[decision.verdict]}: {'; '.join(decision.reasons)}"]
    return [*lines, f"decision sha256 {decision.digest()}, by {said(decision.code)}"]


def _parts(parts: list[Part]) -> list[str]:
    ranked = sorted(parts, key=lambda part: abs(part.figure.difference or 0.0), reverse=True)
    shown = [f"    {part.name:<24}{_row(part.figure)}" for part in ranked[:_MOST_PARTS]]
    left = len(ranked) - _MOST_PARTS
    return [*shown, f"    and {left} more, that differ less"] if left > 0 else shown


def _row(figure: Figure) -> str:
    cells = (
        (figure.champion, figure.champion_interval, ""),
        (figure.challenger, figure.challenger_interval, ""),
        (figure.difference, figure.difference_interval, "+"),
    )
    texts = [_cell(value, interval, sign) for value, interval, sign in cells]
    return f"  {texts[0]:>26}  {texts[1]:>26}  {texts[2]:>28}"


def _cell(value: float | None, interval: tuple[float, float] | None, sign: str) -> str:
    if value is None:
        return "-"
    form = f"{{:{sign}.3g}}"
    if interval is None:
        return form.format(value)
    return f"{form.format(value)} ({form.format(interval[0])} to {form.format(interval[1])})"
