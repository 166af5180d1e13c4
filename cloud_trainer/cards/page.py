"""A card as one self-contained HTML page."""

from __future__ import annotations

import base64
import html
from typing import Any

from cloud_trainer.cards.life import words
from cloud_trainer.cards.plots import Picture
from cloud_trainer.tracing.words import lines_of_model
from headwater.transport.code_version import said

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2329;background:#fff}
h1{font-size:1.5rem} h2{font-size:1.1rem;margin-top:2.2rem} table{border-collapse:collapse}
td,th{padding:.3rem .9rem .3rem 0;border-bottom:1px solid #e3e6ea;text-align:left} td.n{text-align:right}
.dim{color:#6b7280} img{max-width:100%;height:auto} pre{font-size:.8em;white-space:pre-wrap;overflow-wrap:anywhere}
"""
TITLES = {
    "f1": "F1, by reading",
    "average_precision": "Average precision, by reading",
    "false_alarm_rate": "Share of normal readings in alarm",
    "missed_rate": "Share of faulty readings not in alarm",
    "alarm_precision": "Share of alarms with a fault",
    "fault_recall": "Share of faults with an alarm",
    "alarms_per_week": "Alarms a machine and week",
}


def page(told: dict[str, Any], pictures: list[Picture]) -> bytes:
    """The page; pictures stand in it as data."""
    model = told["model"]
    title = f"{model['asset_class']} version {model['version']}, {model['algorithm']}"
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body><h1>{_text(title)}</h1>",
        f"<p>{_text(_seen(told))}</p>",
        _figures(told),
        *(_picture(picture) for picture in pictures),
        "<h2>What it cannot see</h2>",
        _list(told["cannot_see"]),
        "<h2>What it was trained on</h2>",
        _list(told["trained_on"]),
        f"<h2>What made it</h2><pre>{_text(chr(10).join(lines_of_model(model)))}</pre>",
        f"<p class='dim'>Card by {_text(said(told['made_by']))}</p></body></html>",
    ]
    return "\n".join(parts).encode()


def _seen(told: dict[str, Any]) -> str:
    seen = told["seen_on"]
    again = f" {trained_on_said(told)}" if seen["trained_on"] else ""
    if told["alarms"] is None:
        how = ", each by a model that had not learned from its asset" if seen["is_left_out"] else ""
        return (
            f"Asked about {seen['readings']:,} cycles of {seen['assets']} lives{how}; "
            f"dataset sha256 {seen['dataset']['sha256']}.{again}"
        )
    return (
        f"Seen on {seen['readings']:,} readings of {seen['assets']} assets, {seen['readings_counted']:,} of which "
        f"count; dataset sha256 {seen['dataset']['sha256']}.{again} {labels_said(told)}"
    )


def trained_on_said(told: dict[str, Any]) -> str:
    """That the model knows what it was asked about, and what it is worth on lives that it does not know."""
    found = f"It was trained on these, or on a part of them ({told['seen_on']['trained_on']})"
    if told["alarms"] is None and told["left_out"]:
        return f"{found}; on lives left out: {words(told['left_out'])}."
    return f"{found}; others say more of it."


def labels_said(told: dict[str, Any]) -> str:
    """How much is known about the alarms, in a sentence."""
    alarms = told["alarms"]
    if alarms["labels_known_share"] is None:
        return "No alarm was raised."
    return f"Labels known for {alarms['labels_known_share']:.0%} of {alarms['episodes']} alarms."


def _figures(told: dict[str, Any]) -> str:
    rows = [
        f"<tr><td>{_text(TITLES.get(name, name))}</td><td class='n'>{_number(one['value'])}</td>"
        f"<td class='dim'>{_interval(one['interval'])}</td></tr>"
        for name, one in told["figures"].items()
    ]
    for name, value in (told["remaining_life"] or {}).items():
        rows.append(f"<tr><td>Remaining life, {_text(name)}</td><td class='n'>{_number(value)}</td><td></td></tr>")
    note = f"<p class='dim'>{_text(_intervals(told))}</p>" if told["figures"] else ""
    return f"<table>{''.join(rows)}</table>{note}"


def _intervals(told: dict[str, Any]) -> str:
    drawn = "assets" if told["units"] == "assets" else "blocks of readings"
    more = ", of false alarms by blocks of readings" if told["units"] == "assets" else ""
    return f"In brackets: 95 % intervals (Student's t) by {drawn}{more}, as of the judge."


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.data).decode()
    return (
        f"<h2>{_text(picture.title)}</h2><p class='dim'>{_text(picture.text)}</p>"
        f"<img alt='{_text(picture.title)}' src='data:image/png;base64,{data}'>"
    )


def _list(sentences: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(one)}</li>' for one in sentences)}</ul>"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"({interval[0]:.3g} to {interval[1]:.3g})"


def _text(text: str) -> str:
    return html.escape(text, quote=True)
