"""One self-contained HTML page: the table, the pictures, what ran."""

from __future__ import annotations

import html
from pathlib import Path

from headwater import __version__
from headwater.app.demo.console import counted_text, goal_text, verdict_of
from headwater.app.demo.evidence import Evidence, left_out
from headwater.transport.files import replace_durably

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2329;background:#fff}
h1{font-size:1.5rem} h2{font-size:1.1rem;margin-top:2.2rem} table{border-collapse:collapse;width:100%}
td,th{padding:.3rem .6rem;border-bottom:1px solid #e3e6ea;text-align:left} td.n{text-align:right}
.good{color:#3c8d53}.bad{color:#c23b3b}.dim{color:#6b7280} svg{max-width:100%;height:auto} code{font-size:.85em}
"""


def write(evidence: Evidence, pictures: list[tuple[str, str, str]], titles: dict[str, str], path: Path) -> None:
    """Replace `path` by the report; `pictures` are titles, sentences and SVG. Permanent when it cannot be written."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>{html.escape(evidence.title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{html.escape(evidence.title)}</h1>",
        _about(evidence),
        "<h2>Promised and counted</h2>",
        _figures(evidence, titles),
    ]
    for title, text, svg in pictures:
        parts.append(f"<h2>{html.escape(title)}</h2><p class='dim'>{html.escape(text)}</p>{svg}")
    parts += [_models(evidence), _programs(evidence), "</body></html>"]
    replace_durably(path, "\n".join(parts).encode())


def _about(evidence: Evidence) -> str:
    """The verdict in a sentence, then what was asked for and when."""
    missed = [figure for figure in evidence.figures if verdict_of(figure) == "missed"]
    promised = sum(bool(verdict_of(figure)) for figure in evidence.figures)
    said = f"{len(missed)} of {promised} promises missed" if missed else f"All {promised} promises hold"
    facts = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in evidence.about.items())
    return f"<p class='{'bad' if missed else 'good'}'><b>{said}.</b></p><table>{facts}</table>"


def _figures(evidence: Evidence, titles: dict[str, str]) -> str:
    rows = []
    for figure in evidence.figures:
        counted = counted_text(figure)
        goal = goal_text(figure)
        word = verdict_of(figure)
        verdict = f"<span class='{'good' if word == 'holds' else 'bad'}'>{word}</span>"
        title = html.escape(titles.get(figure.name, figure.name))
        rows.append(
            f"<tr><td>{title}<br><code class='dim'>{figure.name}</code></td><td class='n'>{goal}</td>"
            f"<td class='n'>{counted}</td><td>{verdict} <span class='dim'>{html.escape(figure.note)}</span></td></tr>"
        )
    head = "<tr><th></th><th>promised</th><th>counted</th><th></th></tr>"
    notes = "".join(f"<p class='dim'>{html.escape(note)}</p>" for note in evidence.notes)
    return f"<table>{head}{''.join(rows)}</table>{notes}"


def _models(evidence: Evidence) -> str:
    rows = "".join(
        f"<tr><td>v{one.version}</td><td class='n'>{one.records:,}</td><td class='n'>{one.seconds:.1f} s</td>"
        f"<td>{html.escape(left_out(one.excluded))}</td>"
        f"<td class='n'>{one.thresholds.get('', 0):.2f}</td><td><code>{one.dataset_sha256}</code></td></tr>"
        for one in evidence.learned
    )
    head = "<tr><th>model</th><th>records</th><th>request to publication</th><th></th><th>threshold</th>"
    head += "<th>SHA-256 of the dataset</th></tr>"
    return f"<h2>Models</h2><table>{head}{rows}</table>"


def _programs(evidence: Evidence) -> str:
    programs = {"headwater": __version__, **evidence.programs}
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in programs.items())
    return f"<h2>What ran</h2><table>{rows}</table>"
